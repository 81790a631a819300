// Who runs next, and with which pages (internal to the room).
//
// One order decides: its first always makes progress, who waits is admitted in it, and when pages run out its last
// running sample gives way (parked while the parking memory lasts, else dropped for replay). Prefix-cache pages that
// nobody uses go first, then what requests allow to be evicted (`min_budget`). A sample that cannot run even alone ends
// with kKvMemory.
// The order is that of arrival without parking memory or turns. Else it is weighted fair queueing by tokens: a turn of
// n tokens (turn_tokens, or what is left of the request if that is less) ends n / weight after its beginning in virtual
// time, which runs by tokens / weights of all; who waits and would end its turn earlier takes the place of the last
// running sample, once that has run for an eighth of a turn (it is parked, never replayed for that: it costs a copy).
// While nobody waits nobody owes. Prompts share a step's prefill rows, by weight.
#pragma once

#include <memory>
#include <vector>

#include "cache/page_pool.h"
#include "cache/prefix_cache.h"
#include "engine/engine.h"
#include "engine/sample.h"

namespace throughline {

struct Slice {
  Sample* sample = nullptr;
  int64_t rows = 0;  // the sample's drafts are rows behind these
};

class Scheduler {
 public:
  Scheduler(PagePool* pool, PrefixCache* prefixes, const EngineOptions& options, const WeightVersion& weights)
      : pool_(pool), prefixes_(prefixes), options_(options), weights_(weights) {}

  // For chunks that begin from here on (Engine::use_weights).
  void use_weights(const WeightVersion& weights);

  void add(std::unique_ptr<Sample> sample);
  // All unfinished and just finished samples, in order.
  const std::vector<std::unique_ptr<Sample>>& samples() const { return samples_; }
  // Takes the finished ones out.
  std::vector<std::unique_ptr<Sample>> take_finished();

  // Admits, makes room, reserves pages: the rows of the next step. Samples that cannot fit are finished with an error.
  std::vector<Slice> plan();
  // Drafts for those of a plan that decode, as far as rows and free pages go: nobody gives way for a draft.
  void add_drafts(const std::vector<Slice>& slices, const RowCost& cost) const;
  // To be called when a sample's prompt has been computed: its pages may serve others.
  void offer_prefix(const Sample& sample);

  int64_t lowered = 0, parked = 0, replayed = 0, turns = 0, prefix_hit_tokens = 0;  // totals

 private:
  void admit();
  bool admit_one(Sample& sample, int64_t promised);
  bool make_room(int64_t pages, const Sample* keep);
  bool find_room(Sample& sample, int64_t rows);  // else it has given way, or failed
  void lower_budgets(const std::vector<Slice>& next);
  void give_way(Sample& sample);
  bool preempt_youngest(const Sample* older_than);
  int64_t parked_bytes() const;
  bool takes_turns() const { return options_.turn_tokens > 0 && options_.park_memory_bytes > 0; }
  void begin_turn(Sample& sample, double at) const;
  void insert_in_order(std::unique_ptr<Sample> sample);
  void end_turns();
  void change_places();
  std::vector<int64_t> prefill_shares() const;
  void fail_for_memory(Sample& sample, int64_t pages);
  // Prompt pages are those of the newest weights.
  bool is_newest(const Sample& sample) const { return sample.weights().version == weights_.version; }

  PagePool* pool_;
  PrefixCache* prefixes_;
  EngineOptions options_;
  WeightVersion weights_;
  std::vector<std::unique_ptr<Sample>> samples_;
  bool someone_waits_ = false;    // after the last admission
  int64_t pages_waited_for_ = 0;  // by the first who waits for pages
  double virtual_time_ = 0;
  int64_t tokens_seen_ = 0;  // of all samples at the last plan
};

}  // namespace throughline

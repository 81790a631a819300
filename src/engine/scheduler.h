// Who runs next, and with which pages (internal to the room).
//
// Order is arrival order: nobody overtakes, the oldest always makes progress, and when pages run out the youngest
// running sample gives way (parked while the parking memory lasts, else dropped for replay). Prefix-cache pages that
// nobody uses go first. A sample that cannot run even alone ends with kKvMemory.
// Long ones do not starve short ones: prompts share a step's prefill rows, and while others wait, who has had its turn
// is parked and goes to the back of the order (never replayed for that: what it costs is a copy).
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

  void add(std::unique_ptr<Sample> sample) { samples_.push_back(std::move(sample)); }
  // All unfinished and just finished samples, in arrival order.
  const std::vector<std::unique_ptr<Sample>>& samples() const { return samples_; }
  // Takes the finished ones out.
  std::vector<std::unique_ptr<Sample>> take_finished();

  // Admits, makes room, reserves pages: the rows of the next step. Samples that cannot fit are finished with an error.
  std::vector<Slice> plan();
  // Drafts for those of a plan that decode, as far as rows and free pages go: nobody gives way for a draft.
  void add_drafts(const std::vector<Slice>& slices, const RowCost& cost) const;
  // To be called when a sample's prompt has been computed: its pages may serve others.
  void offer_prefix(const Sample& sample);

  int64_t parked = 0, replayed = 0, turns = 0, prefix_hit_tokens = 0;  // totals

 private:
  void admit();
  bool admit_one(Sample& sample, int64_t promised);
  bool make_room(int64_t pages, const Sample* keep);
  void give_way(Sample& sample);
  bool preempt_youngest(const Sample* older_than);
  int64_t parked_bytes() const;
  void take_turns();
  std::vector<int64_t> prefill_shares() const;
  void fail_for_memory(Sample& sample, int64_t pages);
  // Prompt pages are those of the newest weights.
  bool is_newest(const Sample& sample) const { return sample.weights().version == weights_.version; }

  PagePool* pool_;
  PrefixCache* prefixes_;
  EngineOptions options_;
  WeightVersion weights_;
  std::vector<std::unique_ptr<Sample>> samples_;
  bool someone_waits_ = false;  // after the last admission
};

}  // namespace throughline

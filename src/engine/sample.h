// One sample of a request on its way through the engine (internal to the room).
//
// Holds the trace's runner, the present chunk's ids with their kinds, its cache while it runs, and what preemption
// needs. Knows which rows come next; knows nothing of other samples.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "cache/sequence_cache.h"
#include "engine/lookup_drafter.h"
#include "engine/request.h"
#include "engine/speculation.h"
#include "text/stop_strings.h"
#include "text/stream_decoder.h"
#include "think/trace_runner.h"

namespace throughline {

// What all samples of a request share.
struct Job {
  uint64_t ticket = 0;
  Request request;
  std::vector<int32_t> query_ids;
  std::vector<int32_t> ending_ids;  // EOS and stop ids: forbidden before min_tokens
  std::optional<ThinkingIds> tags;
  bool opened_by_prompt = false;
  std::vector<int32_t> replacement;  // budget forcing's text
  TraceLimits limits;
};

class Sample {
 public:
  enum class State { kWaiting, kRunning, kParked, kDropped };
  using Clock = std::chrono::steady_clock;

  Sample(std::shared_ptr<const Job> job, int64_t index, uint64_t arrival, const Tokenizer* tokenizer);

  const Job& job() const { return *job_; }
  int64_t index() const { return index_; }
  uint64_t arrival() const { return arrival_; }
  const TraceRunner& runner() const { return runner_; }
  bool finished() const { return runner_.finished(); }

  // --- scheduling state, moved by the Scheduler ---
  State state = State::kWaiting;
  std::unique_ptr<SequenceCache> cache;           // while running
  std::unique_ptr<SequenceCache::Parked> parked;  // while parked
  int64_t preemptions = 0;
  int64_t prefix_hit_tokens = 0;
  double turn_ends = 0;                 // in virtual time: the order (scheduler.h)
  int64_t turn_from = 0;                // tokens generated when its turn began
  int64_t ran_from = 0;                 // and when it was last admitted
  std::vector<TokenDraw> prompt_draws;  // filled by the engine where the request wants them
  bool wants_prompt_logprobs() const { return job_->request.prompt_logprobs >= 0 && runner_.chunk_index() == 0; }
  const WeightVersion& weights() const { return weights_; }  // of the present chunk; no decoder: it has not begun
  void begin_chunk(const WeightVersion& weights);
  void drop();  // forgets the cache; what it evicted is replayed when the sample runs again

  // --- rows ---
  std::span<const int32_t> prompt() const { return runner_.chunk().prompt_ids; }
  int64_t prompt_tokens() const { return static_cast<int64_t>(prompt().size()); }
  int64_t context_tokens() const;  // ids of the present chunk, fed or not
  int32_t id_at(int64_t position) const;
  TokenKind kind_at(int64_t position) const;
  bool replaying() const { return cache && cache->next_position() < replay_until_; }
  // Rows to feed next, at most `budget` (at least 1). REQUIRES: running, not finished.
  int64_t next_rows(int64_t budget) const;
  bool next_is_prefill() const;
  // Of the cache, for these rows and what follows them.
  int64_t pages_needed(int64_t rows) const { return cache->pages_needed(rows, replayed_after(rows)); }
  void reserve(int64_t rows) { cache->reserve(rows, replayed_after(rows)); }
  // Memory pressure: pages that a smaller budget would give back, if the request allows one and now is a time for it.
  int64_t pages_to_gain() const;
  void lower_budget();  // REQUIRES: pages_to_gain() > 0
  // After the rows were committed: replays or fires what is due. True when all ids are fed and the next id is to be
  // sampled.
  bool settle();

  // --- drafts: ids to feed behind the newest one in the same step ---
  // Makes at most `most`, each likelier than `cost` to be sampled where `options` are adaptive. None while rows are
  // forced or replayed, nor for samples whose policy or logits depend on more than the ids before.
  void make_drafts(const SpeculationOptions& options, int64_t most, double cost);
  std::span<const int32_t> drafts() const { return drafts_; }
  // Whether the id just sampled is the draft of the next row: then commits that row, whose logits come next, and
  // settles it. False: the drafts that are left are void.
  bool accept_draft();
  int64_t end_drafts();  // at the end of the step: counts them, gives their room back; how many were accepted
  void void_drafts() { drafts_.clear(); }
  void forget_lookups() { lookup_.reset(); }  // memory that is rebuilt when wanted
  int64_t draft_tokens = 0, accepted_tokens = 0;

  // --- results ---
  const TokenHistory& history() const { return history_; }
  // Under a grammar: the ids that may come next (DrawLimits), empty where the vocabulary lacks what must come; endings
  // only when it may end, and `may_end` says so too. False: no grammar now.
  bool restrict_ids(bool may_end, std::vector<uint64_t>& allowed);
  void add_sampled(TokenDraw draw);  // also opens the next chunk: then cache is empty and state kWaiting
  void finish(FinishDetail detail);
  const std::vector<ChunkKv>& closed_kv() const { return kv_; }
  // Text that became certain since the last call.
  std::string take_new_text();
  SampleResult result();

  // --- time ---
  void mark_admitted();
  void mark_sampled();
  std::string error;

 private:
  void close_chunk(int64_t closed);  // the one that ran; `closed`: chunks that are behind then
  void take_new_ids();
  void stream_text(int32_t id, bool thinking);
  void follow_grammar(int32_t id);
  bool may_open_thinking() const;
  bool per_step_policy() const;
  int64_t smaller_budget() const;  // half of what is cached, not less than the request allows
  RngKey eviction_key() const;
  bool may_speculate() const;

  std::shared_ptr<const Job> job_;
  int64_t index_;
  uint64_t arrival_;
  TraceRunner runner_;
  int64_t chunk_ = 0;
  WeightVersion weights_;
  TokenHistory history_;
  size_t seen_chunk_ = 0, seen_in_chunk_ = 0;  // ids before this are in history_ and text

  struct Lookup {
    LookupIndex index;
    DraftOdds odds;
    size_t chunk = 0, in_chunk = 0;  // ids before this are in the index
  };
  std::unique_ptr<Lookup> lookup_;
  std::vector<int32_t> drafts_;
  size_t accepted_ = 0;  // of drafts_

  std::span<const EvictionRecord> replayed_after(int64_t rows) const;  // what settle() replays after the next `rows`

  std::vector<EvictionRecord> replay_;  // of the dropped cache
  CacheStats replay_stats_;
  size_t replay_next_ = 0;
  int64_t replay_until_ = 0;

  std::vector<ChunkKv> kv_;
  std::optional<StreamDecoder> decoder_;
  std::optional<StopStrings> stops_;
  bool stopped_ = false;  // a stop string was found
  TokenGrammar::State grammar_;
  std::string text_, new_text_;

  SampleTiming timing_;
  Clock::time_point since_;
  enum class Phase { kQueue, kPrefill, kDecode } phase_ = Phase::kQueue;
  void enter(Phase phase);
};

}  // namespace throughline

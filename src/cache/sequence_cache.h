// One sequence's K and V: its pages, which position sits in which slot, what its policy has seen, and its events.
//
// Logical position (what RoPE used, the true count of tokens) is apart from the physical slot. Lengths are equal over
// layers and heads, kept sets are not. Order of calls for one step of `rows` tokens:
//   reserve(rows) -> the forward pass (StepAttention appends and observes) -> commit(kinds) -> compress() if due().
// Sampled rows at the end that turn out wrong (rejected drafts) are simply not committed: nothing remembers them.
// Events, peak/mean/final tokens: as shared/POLICIES.md, "Time and counting". Positions and `decoded` restart with each
// chunk: a chunk is one SequenceCache. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/rng.h"
#include "cache/page_pool.h"
#include "cache/policy.h"

namespace throughline {

constexpr int64_t kMaxUncommittedRows = 16;  // of a step; more would overwrite queries that an event still wants

// What a token is to the policy: only kSampled counts as decoded, fills the query ring and can trigger an event.
enum class TokenKind : uint8_t { kPrompt, kSampled, kForced };

// What one event took from every layer: enough to replay it, and the trainer's evicted_at.
struct EvictionRecord {
  int64_t decoded = 0;     // `decoded` when it fired
  int64_t tokens = 0;      // logical tokens in the context when it fired (positions 0 .. tokens-1 had been seen)
  int64_t kept = 0;        // cached tokens per layer and head afterwards
  int64_t gone = 0;        // tokens that went, of each set
  int64_t lowered_to = 0;  // of an event under memory pressure: the budget in force from then on; else 0
  // [layers, kv_heads (kHead) or 1 (kLayer), gone] ascending positions, row-major.
  std::vector<int32_t> evicted;
  std::span<const int32_t> evicted_of(int64_t set) const {  // set = layer * sets_per_layer + head
    return std::span<const int32_t>(evicted).subspan(static_cast<size_t>(set * gone), static_cast<size_t>(gone));
  }
};

struct CacheStats {
  int64_t peak_tokens = 0;  // read before an event
  int64_t final_tokens = 0;
  int64_t attended_sum = 0;  // entries attended, summed over decode steps
  int64_t decode_steps = 0;
  int64_t compressions = 0;    // events under memory pressure included
  int64_t evicted_tokens = 0;  // of one layer and head
  int64_t lowered = 0;         // events under memory pressure
  int64_t lowest_budget = 0;   // that they left in force; 0: none
};

class SequenceCache {
 public:
  // `policy` may be null (full) and must outlive the cache. protected prompt tokens follow from policy and
  // prompt_tokens.
  SequenceCache(PagePool* pool, const EvictionPolicy* policy, int64_t q_heads, double scale, int64_t prompt_tokens);
  ~SequenceCache();  // releases its pages
  SequenceCache(SequenceCache&&) noexcept;
  SequenceCache& operator=(SequenceCache&&) noexcept;

  const EvictionPolicy* policy() const;
  int64_t prompt_tokens() const;
  int64_t sets_per_layer() const;  // kept sets a layer: kv_heads under a kHead policy, else 1
  int64_t next_position() const;   // logical tokens so far
  int64_t cached_tokens() const;   // slots in use, per layer and head
  int64_t decoded() const;
  const CacheStats& stats() const;
  const std::vector<EvictionRecord>& records() const;

  // Pages that the next `rows` tokens and the event they may cause need beyond those held (copies of shared pages
  // included). Pages that become shared (PrefixCache::insert) after reserve() and before the event are not foreseen:
  // insert before reserve().
  // `replayed`: the records that replay() will be given after these rows.
  int64_t pages_needed(int64_t rows, std::span<const EvictionRecord> replayed = {}) const;
  // Takes them. REQUIRES: pool->free_pages() >= pages_needed(rows, replayed).
  void reserve(int64_t rows, std::span<const EvictionRecord> replayed = {});
  // Counts the appended rows, one entry a row. In parts: after each, due() is asked again. What is appended to must be
  // the rows of one step: those left out come again in a later step, or never.
  void commit(std::span<const TokenKind> kinds);
  void release_uncommitted();  // gives back pages that only rows left out have used
  // Sampled rows until one after which an event is due, at most `limit`.
  int64_t rows_to_event(int64_t limit) const;

  bool due() const;  // after commit(): the last row was sampled and the policy says so
  // Runs the event in all layers: scores, selects, records, compacts, returns pages. REQUIRES: due().
  void compress(const RngKey& random);
  // Memory pressure (docs/policies.md): an event outside the policy's rhythm, between two steps, that keeps protected,
  // window and the best of the rest up to `budget`; the events after it keep to that too.
  // Pages it would give back; 0: none, or not now (the newest row must be a sampled one no event has followed).
  int64_t pages_to_gain(int64_t budget) const;
  void lower_budget(int64_t budget, const RngKey& random);  // REQUIRES: pages_to_gain(budget) > 0
  // The same with a recorded selection (replay after preemption).
  void replay(const EvictionRecord& record);

  // Prefix sharing: start with whole pages that another sequence filled (retained here). REQUIRES: empty,
  // takes_prefix_hits(), tokens == pages.size() * page_tokens.
  void adopt_prefix(std::span<const int32_t> pages, int64_t tokens);
  bool takes_prefix_hits() const;  // false: the policy must see the prefill itself (h2o), or stores other keys
  // Whether slot s still is position s everywhere, rotated: what may enter the PrefixCache.
  bool pages_are_plain() const;
  const std::vector<int32_t>& pages() const;  // in slot order

  // Kept positions, ascending. head is ignored where the scope is a layer.
  std::vector<int32_t> kept_positions(int64_t layer, int64_t head) const;

  // Parking: copies everything out and releases all pages; unpark() takes new ones and goes on bit for bit, in this
  // object or in a new one made with the same arguments. What is not K or V (positions, statistics, records) stays
  // readable meanwhile.
  struct Parked {
    virtual ~Parked() = default;
  };
  std::unique_ptr<Parked> park();
  int64_t pages_to_unpark(const Parked& parked) const;
  void unpark(const Parked& parked);  // REQUIRES: enough free pages
  static int64_t parked_bytes(const Parked& parked);

  // For bench: as if `depth` logical tokens had been seen, half-way between two events of the policy; K and V random.
  // Statistics start at zero. REQUIRES: empty, depth >= prompt tokens, pool->free_pages() >=
  // pages_for_synthetic(depth).
  void fill_synthetic(int64_t depth, uint64_t seed);
  int64_t pages_for_synthetic(int64_t depth) const;

 private:
  friend class StepAttention;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace throughline

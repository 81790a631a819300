// Internal to cache/: the inside of a SequenceCache, shared by sequence_cache.cc, sequence_event.cc,
// sequence_parking.cc and step_attention.cc. Not part of the room's interface.
//
// A *set* is what one policy decision covers: a layer (kLayer) or one KV head of a layer (kHead). Under `full` there is
// none, and slot s is position s.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "cache/sequence_cache.h"

namespace throughline {

struct TokenSet {
  std::vector<int32_t> position;  // by slot
  std::vector<int32_t> order;     // slots in position order
};

// Everything about a sequence that is not K or V or a page: copied out by park().
struct SequenceBook {
  int64_t tokens = 0;  // logical
  int64_t cached = 0;  // slots in use
  int64_t decoded = 0;
  int64_t events = 0;  // the policy's own
  int64_t budget_limit = std::numeric_limits<int64_t>::max();
  int64_t previous_event_decoded = 0;
  bool last_sampled = false;  // the newest row was sampled and no event has run since
  CacheStats stats;
  std::vector<EvictionRecord> records;
  std::vector<TokenSet> sets;    // [layers * sets_per_layer]; empty under `full`
  std::vector<at::Tensor> sums;  // [layers] fp32 [kv_heads, capacity] by slot, if the policy wants them
  // fp32 [layers, ring_rows() or as many as were needed so far, q_heads, head_dim]: step n lies in row
  // (n - 1) % ring_rows().
  at::Tensor ring;
};

struct SequenceCache::State {
  PagePool* pool = nullptr;
  const EvictionPolicy* policy = nullptr;
  PolicyNeeds needs;
  int64_t q_heads = 0;
  double scale = 1;
  int64_t prompt_tokens = 0;
  int64_t protected_limit = 0;  // positions below this never go
  int64_t sets_per_layer = 1;
  SequenceBook book;
  std::vector<int32_t> pages;           // in slot order
  std::vector<int32_t> spare;           // reserved for the copies of shared pages that the next event may need
  bool replays = false;                 // reserve() was told of records: the rows end where they are replayed
  std::vector<at::Tensor> step_logits;  // [layers] fp32 [q_heads, cached], slot order, of the newest sampled row

  ~State();
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  int64_t layers() const { return pool->shape().layers; }
  int64_t kv_heads() const { return pool->shape().kv_heads; }
  int64_t page_tokens() const { return pool->shape().page_tokens; }
  // The window, and room for rows that may not be committed: they must not overwrite what an event before them reads
  // (one that forced tokens brought forward).
  int64_t ring_rows() const { return needs.query_window + kMaxUncommittedRows; }
  bool shared(int64_t page_index) const { return pool->owners(pages[page_index]) > 1; }
  EventClock clock() const;
  EventClock clock_after(int64_t sampled, int64_t rows) const;

  void release_pages();
  void release_spare();
  // Slots in position order of a layer's set for a KV head; empty under `full` (identity).
  const TokenSet* set_of(int64_t layer, int64_t head) const;
  // The page at `page_index` may be written afterwards: copies it to a spare page if others hold it too.
  void make_writable(int64_t page_index);
  int64_t event_copies(int64_t rows, std::span<const EvictionRecord> replayed) const;

  // lowered_to: 0 for the policy's own event.
  EvictionRecord select(const RngKey& random, int64_t lowered_to) const;
  // `keys`: memory for its keys, made by the first call and used again by the next.
  ScoreInputs score_inputs(int64_t layer, const RngKey& random, at::Tensor* keys) const;
  void apply(const EvictionRecord& record);

  // Step bookkeeping, called by StepAttention.
  at::Tensor sums_for(int64_t layer, int64_t length);  // the layer's sums, with zeros for slots that are new
  // q [rows, q_heads, head_dim]: this sequence's rows of the step, rotated; fp32 or bf16. No torch inside.
  // prepare_ring() must have been called for the step.
  template <class T>
  void keep_queries(int64_t layer, const T* q, const std::vector<TokenKind>& kinds);
  void prepare_ring(const std::vector<TokenKind>& kinds);
};

}  // namespace throughline

// The AttentionContext of training: a pack of rows, each as its chunk was sampled. One object serves one pack.
//
// Positions restart at 0 in every row; attention is causal inside a row; what the policy evicted while the row was
// sampled is invisible from the same token on (query t sees key i exactly if i <= t < evicted_at[i], per layer and
// head: an event fires after its last token has attended). Differentiable; memory O(tokens) a layer. fp32 or bf16.
// kFast: ops/packed_attention. kExact: the forward pass writes K and V into pages and moves them as sampling did, so
// outputs are the sampler's bits (train/row_replay.h); the backward pass is the same in both.
// attend() keeps nothing between layers and may be called again for a layer (activation checkpointing); gradients may
// be taken after the object is gone. Errors: check_trainable() before sampling; rows that contradict their records
// throw InvariantError. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "cache/attention_context.h"
#include "cache/sequence_cache.h"
#include "model/decoder.h"
#include "ops/numeric.h"

namespace throughline {

// A row of a pack: its first `tokens` ids are fed (all, or all but the last, from which nothing is predicted).
struct PackedRow {
  int64_t tokens = 0;
  const std::vector<EvictionRecord>* evictions = nullptr;  // null: none. Must outlive the RowAttention
};

class RowAttention : public AttentionContext {
 public:
  // Rows lie one behind the other in the order given. Angles, head counts and scale are the decoder's.
  RowAttention(const Decoder& decoder, std::vector<PackedRow> rows, ops::NumericMode mode);
  ~RowAttention() override;
  at::Tensor attend(int layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Whether rows sampled under this policy (null: full) can be trained on: what it did to the cache must be recorded and
// repeatable. `where` names the place in the error.
Status check_trainable(const EvictionPolicy* policy, const std::string& where);

}  // namespace throughline

// The AttentionContext of the engine: one forward pass over rows of several SequenceCaches.
//
// Per layer: rotates q and k by true positions, appends K and V to the pages, attends, and shows each sequence's policy
// what it needs (queries of sampled rows, step attention, attention sums). Works for any mix of prefill slices and
// decode rows.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "cache/attention_context.h"
#include "cache/sequence_cache.h"
#include "ops/numeric.h"
#include "ops/rope.h"

namespace throughline {

struct StepSequence {
  SequenceCache* cache = nullptr;
  std::vector<TokenKind> kinds;  // one a row; rows of a step are this sequence's next tokens, in order
};

class StepAttention : public AttentionContext {
 public:
  // REQUIRES: reserve(kinds.size()) was called on every cache. After the forward pass the caller calls commit().
  StepAttention(std::vector<StepSequence> sequences, const ops::RopeFrequencies& frequencies, double scale,
                ops::NumericMode mode = ops::NumericMode::kExact);
  ~StepAttention() override;
  at::Tensor attend(int layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace throughline

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
  void attend_into(int layer, const ops::HeadNorms& norms, const at::Tensor& q, const at::Tensor& k,
                   const at::Tensor& v, const at::Tensor& wanted, const at::Tensor& out) override;

  // The same for some sequences alone. Only where by_sequence(): fp32, and no policy in the step wants to see its
  // attention.
  bool by_sequence() const;
  std::span<const int32_t> row_begin() const;  // [sequences + 1]: sequence s has rows row_begin()[s] ..
  // Sequences [from, to): q, k, v and `out` are the rows of these, laid out as above; q and k come back rotated. No
  // torch inside: tasks of the pool may call it for disjoint sequences at once. Every layer once.
  void attend_sequences(int layer, int64_t from, int64_t to, float* q, float* k, const float* v, float* out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace throughline

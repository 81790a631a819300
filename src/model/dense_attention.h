// The AttentionContext of whole sequences without a cache: causal attention within each sequence of a packed batch.
//
// Rows of sequence s are row_begin[s] .. row_begin[s+1]-1; positions [rows] are what RoPE turns by (true positions, any
// increasing numbers). Plain ATen in fp32, differentiable, memory rows^2 a sequence and head: for tests and training
// on short rows. Not row-exact: --exact goes through the paged kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/attention_context.h"
#include "ops/rope.h"

namespace throughline {

class DenseAttention : public AttentionContext {
 public:
  DenseAttention(std::vector<int64_t> row_begin, const std::vector<int64_t>& positions,
                 const ops::RopeFrequencies& frequencies, double scale);
  at::Tensor attend(int layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

 private:
  std::vector<int64_t> row_begin_;
  ops::RopeAngles angles_;
  double scale_;
};

}  // namespace throughline

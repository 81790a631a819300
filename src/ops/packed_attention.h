// Attention of training: whole rows (sequences) packed one behind the other, causal inside each, forward and backward.
//
// q [tokens, q_heads, head_dim], k and v [tokens, kv_heads, head_dim], already rotated, fp32 or bf16, all of one dtype;
// row r is tokens row_begin[r] .. row_begin[r+1]-1 and token t below is a token's place in its row. With evictions
// (DESIGN 4.4) query t sees key i exactly if i <= t < evicted_at[i], so the masks of compressed sampling are replayed.
// fp32 arithmetic. Memory is O(tokens): probabilities are made again from lse in backward. A row's results and
// gradients do not depend on its neighbours in the pack nor on the number of threads. Two versions: plain ATen (any
// device; what tests compare with) and the CPU's (ops/cpu/packed_attention_kernels.h). Source: FlashAttention-2 (arXiv
// 2307.08691).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace throughline::ops {

constexpr int32_t kNeverEvicted = std::numeric_limits<int32_t>::max();

struct PackedRows {
  std::vector<int64_t> row_begin;  // [rows + 1], from 0
  // int32 [kv_heads or 1, tokens], contiguous, or undefined: nothing was evicted. Always > the token's own place.
  at::Tensor evicted_at;
  std::vector<uint8_t> evicts;  // [rows] whether evicted_at says anything but never; empty: none does

  int64_t rows() const { return static_cast<int64_t>(row_begin.size()) - 1; }
  bool evicts_in(int64_t row) const { return !evicts.empty() && evicts[row] != 0; }
};

struct PackedAttentionGrads {
  at::Tensor q, k, v;  // as q, k, v
};

// -> [tokens, q_heads, head_dim] of q's dtype. `lse`, if given, becomes fp32 [tokens, q_heads]: the log-sum-exp of the
// scaled scores of what a query sees.
at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PackedRows& rows,
                            double scale, at::Tensor* lse = nullptr);
// `out` and `lse` of the forward pass (or of another attention over the same keys: --exact reads pages).
PackedAttentionGrads packed_attention_backward(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
                                               const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                               const PackedRows& rows, double scale);

// The same in plain ATen, a tile of queries at a time.
at::Tensor packed_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const PackedRows& rows, double scale, at::Tensor* lse = nullptr);
PackedAttentionGrads packed_attention_backward_reference(const at::Tensor& grad_out, const at::Tensor& q,
                                                         const at::Tensor& k, const at::Tensor& v,
                                                         const at::Tensor& out, const at::Tensor& lse,
                                                         const PackedRows& rows, double scale);

// Throws InvariantError unless shapes, dtypes and row_begin fit together.
void check_packed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PackedRows& rows);

}  // namespace throughline::ops

#include "ops/packed_attention.h"

namespace throughline::ops {

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PackedRows& rows,
                            double scale, at::Tensor* lse) {
  return packed_attention_reference(q, k, v, rows, scale, lse);
}

PackedAttentionGrads packed_attention_backward(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
                                               const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                               const PackedRows& rows, double scale) {
  return packed_attention_backward_reference(grad_out, q, k, v, out, lse, rows, scale);
}

}  // namespace throughline::ops

// The seam between the decoder and whatever keeps K and V.
//
// The decoder hands over each layer's projections *before* rotation; the context rotates, stores, attends and lets
// eviction policies look. One object serves one forward pass over one batch of rows.
#pragma once

#include <ATen/core/Tensor.h>

namespace throughline {

class AttentionContext {
 public:
  virtual ~AttentionContext() = default;
  // q [rows, q_heads, head_dim], k and v [rows, kv_heads, head_dim], unrotated -> [rows, q_heads, head_dim].
  virtual at::Tensor attend(int layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) = 0;
};

}  // namespace throughline

// The seam between the decoder and whatever keeps K and V.
//
// The decoder hands over each layer's projections *before* rotation; the context rotates, stores, attends and lets
// eviction policies look. One object serves one forward pass over one batch of rows.
#pragma once

#include <ATen/core/Tensor.h>

#include "ops/paged_attention.h"
#include "ops/rows.h"

namespace throughline {

class AttentionContext {
 public:
  virtual ~AttentionContext() = default;
  // q [rows, q_heads, head_dim], k and v [rows, kv_heads, head_dim], unrotated -> [rows, q_heads, head_dim].
  virtual at::Tensor attend(int layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) = 0;

  // The same without a graph, into `out`, for contiguous q, k and v whose heads have not been normalised yet. q and k
  // are overwritten. `wanted` (int64), if defined: `out` is of these rows only.
  virtual void attend_into(int layer, const ops::HeadNorms& norms, const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const at::Tensor& wanted, const at::Tensor& out) {
    if (norms.q.defined()) ops::rms_norm(q, norms.q, norms.eps, q);
    if (norms.k.defined()) ops::rms_norm(k, norms.k, norms.eps, k);
    out.copy_(ops::selected_rows(attend(layer, q, k, v), wanted));
  }
};

}  // namespace throughline

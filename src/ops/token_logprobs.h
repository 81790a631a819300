// Log-probabilities of given tokens under the head, over a vocabulary that is never held whole.
//
// hidden [n, hidden] and head [vocab, hidden] of one dtype (fp32 or bf16), targets [n] int64 -> fp32 [n] each:
// log softmax(hidden head^T / temperature)[target] and the distribution's entropy (nats). Rows are handled in chunks;
// the logits of a chunk live only while it is worked on, and the backward pass computes them again. Logits are rounded
// to the weights' dtype, as Decoder::logits() has them; everything after is fp32. Differentiable in hidden and head
// (the entropy is not). With kExact a row's bits are those that the sampler reports (both use kernels::scaled_softmax).
#pragma once

#include <ATen/core/Tensor.h>

#include "ops/numeric.h"

namespace throughline::ops {

struct TokenLogprobs {
  at::Tensor logprobs, entropy;
};

TokenLogprobs token_logprobs(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets,
                             double temperature, NumericMode mode);

}  // namespace throughline::ops

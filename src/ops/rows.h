// Row kernels: each output row depends on its own input row only, in a fixed order (row-exact in both modes).
// fp32 or bf16 in and out, arithmetic in fp32. All differentiable.
#pragma once

#include <ATen/core/Tensor.h>

namespace throughline::ops {

// x [..., n] -> x / sqrt(mean(x^2) + eps) * weight [n]. As Hugging Face: for bf16 the normalised value is rounded to
// bf16 before the weight multiplies it.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// silu(gate) * up, elementwise; both [rows, n].
at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up);

// fp32 log-sum-exp of each row of logits [rows, n] -> [rows].
at::Tensor row_logsumexp(const at::Tensor& logits);

}  // namespace throughline::ops

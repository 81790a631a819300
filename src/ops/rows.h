// Row kernels: each output row depends on its own input row only, in a fixed order (row-exact in both modes).
// fp32 or bf16 in and out, arithmetic in fp32. All differentiable.
#pragma once

#include <ATen/core/Tensor.h>

namespace throughline::ops {

// x [..., n] -> x / sqrt(mean(x^2) + eps) * weight [n]. As Hugging Face: for bf16 the normalised value is rounded to
// bf16 before the weight multiplies it. `into` (x's shape and dtype, contiguous; may be x), if given, is filled
// instead: without a graph.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& into = {});

// Its slopes for an upstream g: dx is written, dweight (fp32 [n]; undefined: not wanted) is set. x, g and dx are of the
// same shape [rows, n] or [rows, heads, n] with any row stride, heads and elements contiguous. `add` (undefined: none)
// is contiguous and added to dx. Bits do not hang on the thread count.
void rms_norm_slope(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& g, double eps,
                    const at::Tensor& add, at::Tensor& dx, at::Tensor* dweight);

// silu(gate) * up, elementwise; both [rows, n].
at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up);

// gate_up [rows, 2 n], gate beside up, contiguous -> [rows, n].
at::Tensor silu_mul_joined(const at::Tensor& gate_up);
// Its slopes for an upstream g [rows, n]: gate_up becomes them, g becomes silu(gate) * up again.
void silu_mul_joined_slope(at::Tensor& gate_up, at::Tensor& g);

// The rows of x that `rows` (int64) names; x where it is undefined.
at::Tensor selected_rows(const at::Tensor& x, const at::Tensor& rows);

// fp32 log-sum-exp of each row of logits [rows, n] -> [rows].
at::Tensor row_logsumexp(const at::Tensor& logits);

}  // namespace throughline::ops

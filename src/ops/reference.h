// Plain references of the row kernels and the matrix product: loops in double, rounded at the points the kernels
// promise. For tests; slow on purpose. CPU, fp32 or bf16, no autograd.
#pragma once

#include <ATen/core/Tensor.h>

#include "ops/rope.h"

namespace throughline::ops {

at::Tensor linear_reference(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps);
at::Tensor silu_mul_reference(const at::Tensor& gate, const at::Tensor& up);
at::Tensor rope_reference(const at::Tensor& x, const RopeAngles& angles);
at::Tensor row_logsumexp_reference(const at::Tensor& logits);

}  // namespace throughline::ops

// The three matrix products of a linear layer's training step. All matrices 2-D, contiguous after the call's own care,
// of one dtype (fp32 or bf16), fp32 accumulation. On the CPU fp32, and bf16 where the machine has no instruction for it
// (it is widened: docs/training-speed.md), are the own kernel's (ops/cpu/panel_gemm.h), whose bits hang on neither rows
// nor threads; anything else is ATen's. Not differentiable.
#pragma once

#include <ATen/core/Tensor.h>

namespace throughline::ops {

at::Tensor matmul_nt(const at::Tensor& x, const at::Tensor& weight);  // x [n, in], weight [out, in] -> x W^T [n, out]
at::Tensor matmul_nt(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& addend);  // addend + x W^T
at::Tensor matmul_nn(const at::Tensor& g, const at::Tensor& weight);  // g [n, out], weight [out, in] -> g W [n, in]
at::Tensor matmul_tn(const at::Tensor& g, const at::Tensor& x);       // g [n, out], x [n, in] -> g^T x [out, in]
// g^T x is added to y [out, in], fp32 and contiguous.
void add_matmul_tn(at::Tensor& y, const at::Tensor& g, const at::Tensor& x);

}  // namespace throughline::ops

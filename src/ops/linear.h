// y = x W^T (+ bias): x [rows, in], weight [out, in], bias [out] or undefined -> [rows, out], all of one dtype (fp32 or
// bf16), accumulation in fp32.
//
// kExact: own product, fixed order over `in` for every row count and thread count (ops/products.h). kFast: the same,
// but many rows of fp32, and of bf16 where the machine has no products of it, through ops/matmul.h, and ATen on a
// device. Differentiable in both modes (the backward pass is that of ops/matmul.h).
#pragma once

#include <ATen/core/Tensor.h>

#include "ops/numeric.h"

namespace throughline::ops {

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, NumericMode mode);

}  // namespace throughline::ops

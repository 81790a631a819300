// The matrix products of a decoder layer without a graph: what sampling, prefill and --exact run on the CPU.
//
// x [rows, in] fp32 or bf16, a weight [out, in] of x's dtype (ops/cpu/dot_gemm.h) or quantized (then x is rounded to
// int8 in groups of 32: ops/cpu/quantized_gemm.h), results [rows, out] in x's dtype, fp32 accumulation. An element's
// bits depend on its row of x and its row of the weight alone: not on the other rows, the threads, or on which of these
// functions computed it. In fast mode there is one exception: many rows of bf16 (kManyRows and more, where the machine
// has the instruction) are summed in another order (ops/cpu/pair_product.h). Each function is one run of the thread
// pool.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "ops/numeric.h"
#include "ops/quantized_weight.h"

namespace throughline::ops {

constexpr int64_t kManyRows = 64;  // bench/gemm_bench, ManyRows

// Whether these functions are the way to multiply x by plain weights: always under kExact; in fast mode fp32 with many
// rows is faster by ops/matmul.h, and so is bf16 on machines without the instruction.
bool fused_products(const at::Tensor& x, NumericMode mode);

struct LinearWeight {
  at::Tensor values;
  at::Tensor bias;    // [out] or undefined
  at::Tensor scales;  // quantized weights' only; then `out` and `in` must be given
  WeightFormat format = WeightFormat::kPlain;
  int64_t out = 0, in = 0;

  LinearWeight(const at::Tensor& plain, const at::Tensor& bias_in)
      : values(plain), bias(bias_in), out(plain.size(0)), in(plain.size(1)) {}
  LinearWeight(const QuantizedWeight& q, const at::Tensor& bias_in, WeightFormat q_format, int64_t q_out, int64_t q_in)
      : values(q.values), bias(bias_in), scales(q.scales), format(q_format), out(q_out), in(q_in) {}
};

// `into` below, if given, is filled and returned: of the result's dtype, as many elements, contiguous.

// x W^T + bias for each weight.
std::vector<at::Tensor> linears(const at::Tensor& x, const std::vector<LinearWeight>& weights,
                                NumericMode mode = NumericMode::kExact);
void linears_into(const at::Tensor& x, std::span<const LinearWeight> weights, std::span<const at::Tensor> into,
                  NumericMode mode);
// residual + (x W^T + bias), the bracket rounded to the dtype first. `into` may be the residual.
at::Tensor linear_add(const at::Tensor& residual, const at::Tensor& x, const LinearWeight& weight,
                      NumericMode mode = NumericMode::kExact, const at::Tensor& into = {});
// silu(gate) * up with gate = x Wg^T + bias and up likewise, rounded as silu_mul() of ops/rows.h rounds.
at::Tensor linear_silu_mul(const at::Tensor& x, const LinearWeight& gate, const LinearWeight& up,
                           NumericMode mode = NumericMode::kExact, const at::Tensor& into = {});
// x W^T rounded to the dtype, as fp32 [rows, out]: logits.
at::Tensor linear_to_float(const at::Tensor& x, const LinearWeight& weight, NumericMode mode = NumericMode::kExact);

}  // namespace throughline::ops

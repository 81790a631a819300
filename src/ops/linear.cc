#include "ops/linear.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>

#include <optional>

#include "ops/autograd.h"
#include "ops/matmul.h"
#include "ops/products.h"

namespace throughline::ops {
namespace {

at::Tensor own_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      NumericMode mode = NumericMode::kExact) {
  return linears(x, {{weight.contiguous(), bias.defined() ? bias.contiguous() : bias}}, mode).front();
}

at::Tensor fast_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (fused_products(x, NumericMode::kFast)) return own_linear(x, weight, bias, NumericMode::kFast);
  at::Tensor y = matmul_nt(x, weight);
  if (bias.defined()) y.add_(bias);
  return y;
}

at::Tensor exact_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const auto forward = [&](Tensors& saved) -> Tensors {
    saved = {x, weight};
    return {own_linear(x, weight, bias)};
  };
  return differentiable({x, weight, bias}, forward,
                        [](const NodeSlopes& node) -> Tensors {
                          const at::Tensor& grad = node.grads[0];
                          return {node.wanted(0) ? at::matmul(grad, node.saved[1]) : at::Tensor(),
                                  node.wanted(1) ? at::matmul(grad.t(), node.saved[0]) : at::Tensor(),
                                  node.wanted(2) ? grad.sum(0) : at::Tensor()};
                        })
      .front();
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, NumericMode mode) {
  const auto maybe_bias = bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  if (!needs_grad({&x, &weight, &bias})) {
    if (mode == NumericMode::kExact) return own_linear(x, weight, bias);
    return x.device().is_cpu() ? fast_linear(x, weight, bias) : at::linear(x, weight, maybe_bias);
  }
  return mode == NumericMode::kFast ? at::linear(x, weight, maybe_bias) : exact_linear(x, weight, bias);
}

}  // namespace throughline::ops

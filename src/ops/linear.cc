#include "ops/linear.h"

#include <ATen/ops/linear.h>

#include <optional>

#include "ops/autograd.h"
#include "ops/matmul.h"
#include "ops/products.h"

namespace throughline::ops {
namespace {

// Without a graph.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, NumericMode mode) {
  if (mode == NumericMode::kExact || fused_products(x, mode)) {
    return linears(x, {{weight.contiguous(), bias.defined() ? bias.contiguous() : bias}}, mode).front();
  }
  at::Tensor y = matmul_nt(x, weight);
  if (bias.defined()) y.add_(bias);
  return y;
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, NumericMode mode) {
  if (mode == NumericMode::kFast && !x.device().is_cpu()) {
    return at::linear(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
  }
  if (!needs_grad({&x, &weight, &bias})) return product(x, weight, bias, mode);
  const auto forward = [&](Tensors& saved) -> Tensors {
    saved = {x, weight};
    return {product(x, weight, bias, mode)};
  };
  return differentiable({x, weight, bias}, forward,
                        [](const NodeSlopes& node) -> Tensors {
                          const at::Tensor& grad = node.grads[0];
                          return {node.wanted(0) ? matmul_nn(grad, node.saved[1]) : at::Tensor(),
                                  node.wanted(1) ? matmul_tn(grad, node.saved[0]) : at::Tensor(),
                                  node.wanted(2) ? grad.sum(0) : at::Tensor()};
                        })
      .front();
}

}  // namespace throughline::ops

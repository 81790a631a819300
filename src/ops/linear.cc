#include "ops/linear.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <torch/csrc/autograd/custom_function.h>

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

struct ExactLinear : torch::autograd::Function<ExactLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["has_bias"] = bias.has_value();
    const at::NoGradGuard guard;
    return own_linear(x, weight, bias.value_or(at::Tensor()));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& grad = grads[0];
    at::Tensor grad_x, grad_weight, grad_bias;
    if (context->needs_input_grad(0)) grad_x = at::matmul(grad, saved[1]);
    if (context->needs_input_grad(1)) grad_weight = at::matmul(grad.t(), saved[0]);
    if (context->saved_data["has_bias"].toBool()) grad_bias = grad.sum(0);
    return {grad_x, grad_weight, grad_bias};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, NumericMode mode) {
  const auto maybe_bias = bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  if (!needs_grad({&x, &weight, &bias})) {
    if (mode == NumericMode::kExact) return own_linear(x, weight, bias);
    return x.device().is_cpu() ? fast_linear(x, weight, bias) : at::linear(x, weight, maybe_bias);
  }
  return mode == NumericMode::kFast ? at::linear(x, weight, maybe_bias) : ExactLinear::apply(x, weight, maybe_bias);
}

}  // namespace throughline::ops

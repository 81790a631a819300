#include "ops/linear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>

#include "ops/autograd.h"
#include "ops/exact_gemm.h"

namespace throughline::ops {
namespace {

// Fused multiply-adds below which a second thread costs more than it saves (about 10 us of work).
constexpr int64_t kWorkPerThread = 1 << 17;

at::Tensor exact_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  check_element_type(x, "linear");
  TL_CHECK(x.device().is_cpu(), "exact linear runs on the CPU only");
  TL_CHECK(x.dim() == 2 && weight.dim() == 2 && x.size(1) == weight.size(1), "linear: shapes do not match");
  TL_CHECK(weight.scalar_type() == x.scalar_type(), "linear: dtypes differ");
  TL_CHECK(!bias.defined() || (bias.scalar_type() == x.scalar_type() && bias.numel() == weight.size(0)),
           "linear: bias does not match");
  const at::Tensor rows = x.contiguous(), w = weight.contiguous();
  const at::Tensor b = bias.defined() ? bias.contiguous() : bias;
  const int64_t m = rows.size(0), k = rows.size(1), n = w.size(0);
  at::Tensor y = at::empty({m, n}, x.options());
  if (m == 0) return y;
  const int64_t grain = std::max<int64_t>(1, kWorkPerThread / std::max<int64_t>(1, m * k));
  at::parallel_for(0, n, grain, [&](int64_t begin, int64_t end) {
    if (x.scalar_type() == at::kFloat) {
      kernels::exact_gemm(f32(rows), f32(w), b.defined() ? f32(b) : nullptr, f32_out(y), m, k, n, begin, end);
    } else {
      kernels::exact_gemm(bf16(rows), bf16(w), b.defined() ? bf16(b) : nullptr, bf16_out(y), m, k, n, begin, end);
    }
  });
  return y;
}

struct ExactLinear : torch::autograd::Function<ExactLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["has_bias"] = bias.has_value();
    const at::NoGradGuard guard;
    return exact_linear(x, weight, bias.value_or(at::Tensor()));
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
  if (mode == NumericMode::kFast) return at::linear(x, weight, maybe_bias);
  if (!needs_grad({&x, &weight, &bias})) return exact_linear(x, weight, bias);
  return ExactLinear::apply(x, weight, maybe_bias);
}

}  // namespace throughline::ops

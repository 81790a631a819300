#include "ops/rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "ops/autograd.h"
#include "ops/row_kernels.h"

namespace throughline::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Elements a thread should have at least: a row kernel does about 4 an ns, waking a thread costs about 5 us.
constexpr int64_t kElementsPerThread = 1 << 15;

int64_t row_grain(int64_t n) { return std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, n)); }

at::Tensor rms_norm_forward(const at::Tensor& x, const at::Tensor& weight, double eps) {
  check_element_type(x, "rms_norm");
  const int64_t n = weight.numel();
  TL_CHECK(x.device().is_cpu(), "rms_norm runs on the CPU only");
  TL_CHECK(n > 0 && x.dim() >= 1 && x.size(-1) == n, "rms_norm: shapes do not match");
  TL_CHECK(weight.scalar_type() == x.scalar_type(), "rms_norm: dtypes differ");
  const at::Tensor in = x.contiguous(), w = weight.contiguous();
  at::Tensor y = at::empty_like(in);
  at::parallel_for(0, in.numel() / n, row_grain(n), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * n;
    if (x.scalar_type() == at::kFloat) {
      kernels::rms_norm(f32(in) + at, f32(w), f32_out(y) + at, end - begin, n, eps);
    } else {
      kernels::rms_norm(bf16(in) + at, bf16(w), bf16_out(y) + at, end - begin, n, eps);
    }
  });
  return y;
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double eps) {
    context->save_for_backward({x, weight});
    context->saved_data["eps"] = eps;
    const at::NoGradGuard guard;
    return rms_norm_forward(x, weight, eps);
  }

  // With s = 1/sqrt(mean(x^2) + eps) and n = x s: dx = s (g w - n mean(g w n)), dw = sum over rows of g n. In fp32.
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor x = saved[0].to(at::kFloat), weight = saved[1].to(at::kFloat), grad = grads[0].to(at::kFloat);
    const at::Tensor scale = x.square().mean(-1, true).add(context->saved_data["eps"].toDouble()).rsqrt();
    const at::Tensor normed = x.mul(scale);
    at::Tensor grad_x, grad_weight;
    if (context->needs_input_grad(0)) {
      const at::Tensor weighted = grad.mul(weight);
      const at::Tensor along = normed.mul(weighted.mul(normed).mean(-1, true));
      grad_x = weighted.sub(along).mul(scale).to(saved[0].scalar_type());
    }
    if (context->needs_input_grad(1)) {
      // The forward pass rounds the normalised value to x's dtype before the weight.
      const at::Tensor rounded = normed.to(saved[0].scalar_type()).to(at::kFloat);
      grad_weight = grad.mul(rounded).reshape({-1, weight.numel()}).sum(0).to(saved[1].scalar_type());
    }
    return {grad_x, grad_weight, at::Tensor()};
  }
};

at::Tensor silu_mul_forward(const at::Tensor& gate, const at::Tensor& up) {
  check_element_type(gate, "silu_mul");
  TL_CHECK(gate.device().is_cpu(), "silu_mul runs on the CPU only");
  TL_CHECK(gate.sizes() == up.sizes() && gate.dim() >= 1, "silu_mul: shapes differ");
  TL_CHECK(gate.scalar_type() == up.scalar_type(), "silu_mul: dtypes differ");
  const at::Tensor g = gate.contiguous(), u = up.contiguous();
  at::Tensor y = at::empty_like(g);
  // Every lane does the same arithmetic, tails included, so a split anywhere leaves the bits alone.
  at::parallel_for(0, g.numel(), kElementsPerThread, [&](int64_t begin, int64_t end) {
    if (g.scalar_type() == at::kFloat) {
      kernels::silu_mul(f32(g) + begin, f32(u) + begin, f32_out(y) + begin, end - begin);
    } else {
      kernels::silu_mul(bf16(g) + begin, bf16(u) + begin, bf16_out(y) + begin, end - begin);
    }
  });
  return y;
}

struct SiluMul : torch::autograd::Function<SiluMul> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate, const at::Tensor& up) {
    context->save_for_backward({gate, up});
    const at::NoGradGuard guard;
    return silu_mul_forward(gate, up);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto dtype = saved[0].scalar_type();
    const at::Tensor gate = saved[0].to(at::kFloat), up = saved[1].to(at::kFloat), grad = grads[0].to(at::kFloat);
    const at::Tensor sigma = gate.sigmoid();
    const at::Tensor slope = sigma.mul(gate.mul(sigma.neg().add(1)).add(1));  // silu'
    return {grad.mul(up).mul(slope).to(dtype), grad.mul(gate).mul(sigma).to(dtype)};
  }
};

at::Tensor row_logsumexp_forward(const at::Tensor& logits) {
  TL_CHECK(logits.device().is_cpu(), "row_logsumexp runs on the CPU only");
  TL_CHECK(logits.dim() == 2 && logits.scalar_type() == at::kFloat, "row_logsumexp: wants fp32 [rows, n]");
  const at::Tensor in = logits.contiguous();
  const int64_t rows = in.size(0), n = in.size(1);
  at::Tensor out = at::empty({rows}, in.options());
  at::parallel_for(0, rows, row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f32_out(out)[r] = kernels::logsumexp(f32(in) + r * n, n);
  });
  return out;
}

struct RowLogSumExp : torch::autograd::Function<RowLogSumExp> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logits) {
    const at::NoGradGuard guard;
    at::Tensor out = row_logsumexp_forward(logits);
    context->save_for_backward({logits, out});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    return {saved[0].sub(saved[1].unsqueeze(1)).exp().mul(grads[0].unsqueeze(1))};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return needs_grad({&x, &weight}) ? RmsNorm::apply(x, weight, eps) : rms_norm_forward(x, weight, eps);
}

at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) {
  return needs_grad({&gate, &up}) ? SiluMul::apply(gate, up) : silu_mul_forward(gate, up);
}

at::Tensor row_logsumexp(const at::Tensor& logits) {
  return needs_grad({&logits}) ? RowLogSumExp::apply(logits) : row_logsumexp_forward(logits);
}

}  // namespace throughline::ops

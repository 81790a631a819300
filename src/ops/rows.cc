#include "ops/rows.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "ops/autograd.h"
#include "ops/parallel.h"
#include "ops/row_kernels.h"

namespace throughline::ops {
namespace {

// Elements a thread should have at least: a row kernel does about 4 an ns, waking a thread costs about 5 us.
constexpr int64_t kElementsPerThread = 1 << 15;

int64_t row_grain(int64_t n) { return std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, n)); }

at::Tensor rms_norm_forward(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& into = {}) {
  check_element_type(x, "rms_norm");
  const int64_t n = weight.numel();
  TL_CHECK(x.device().is_cpu(), "rms_norm runs on the CPU only");
  TL_CHECK(n > 0 && x.dim() >= 1 && x.size(-1) == n, "rms_norm: shapes do not match");
  TL_CHECK(weight.scalar_type() == x.scalar_type(), "rms_norm: dtypes differ");
  const at::Tensor in = x.contiguous(), w = weight.contiguous();
  at::Tensor y = into.defined() ? into : at::empty_like(in);
  TL_CHECK(y.sizes() == in.sizes() && y.scalar_type() == x.scalar_type() && y.is_contiguous(),
           "rms_norm: the result does not match");
  parallel_for(0, in.numel() / n, row_grain(n), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * n;
    if (x.scalar_type() == at::kFloat) {
      kernels::rms_norm(f32(in) + at, f32(w), f32_out(y) + at, end - begin, n, eps);
    } else {
      kernels::rms_norm(bf16(in) + at, bf16(w), bf16_out(y) + at, end - begin, n, eps);
    }
  });
  return y;
}

at::Tensor differentiable_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const auto forward = [&](Tensors& saved) -> Tensors {
    saved = {x, weight};
    return {rms_norm_forward(x, weight, eps)};
  };
  const auto backward = [eps](const NodeSlopes& node) -> Tensors {
    const at::Tensor& weight = node.saved[1];
    const int64_t n = weight.numel();
    const at::Tensor x = node.saved[0].contiguous().view({-1, n}), grad = node.grads[0].contiguous().view({-1, n});
    at::Tensor grad_x = at::empty_like(x), grad_weight;
    rms_norm_slope(x, weight, grad, eps, at::Tensor(), grad_x, node.wanted(1) ? &grad_weight : nullptr);
    if (grad_weight.defined()) grad_weight = grad_weight.to(weight.scalar_type());
    return {grad_x.view(node.saved[0].sizes()), grad_weight};
  };
  return differentiable({x, weight}, forward, backward).front();
}

at::Tensor silu_mul_forward(const at::Tensor& gate, const at::Tensor& up) {
  check_element_type(gate, "silu_mul");
  TL_CHECK(gate.device().is_cpu(), "silu_mul runs on the CPU only");
  TL_CHECK(gate.sizes() == up.sizes() && gate.dim() >= 1, "silu_mul: shapes differ");
  TL_CHECK(gate.scalar_type() == up.scalar_type(), "silu_mul: dtypes differ");
  const at::Tensor g = gate.contiguous(), u = up.contiguous();
  at::Tensor y = at::empty_like(g);
  // Every lane does the same arithmetic, tails included, so a split anywhere leaves the bits alone.
  parallel_for(0, g.numel(), kElementsPerThread, [&](int64_t begin, int64_t end) {
    if (g.scalar_type() == at::kFloat) {
      kernels::silu_mul(f32(g) + begin, f32(u) + begin, f32_out(y) + begin, end - begin);
    } else {
      kernels::silu_mul(bf16(g) + begin, bf16(u) + begin, bf16_out(y) + begin, end - begin);
    }
  });
  return y;
}

Tensors silu_mul_backward(const NodeSlopes& node) {
  const at::Tensor gate = node.saved[0].contiguous(), up = node.saved[1].contiguous(),
                   grad = node.grads[0].contiguous();
  const at::Tensor dgate = at::empty_like(gate), dup = at::empty_like(up);
  parallel_for(0, gate.numel(), kElementsPerThread, [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    if (gate.scalar_type() == at::kFloat) {
      kernels::silu_mul_slope(f32(gate) + begin, f32(up) + begin, f32(grad) + begin, nullptr, f32_out(dgate) + begin,
                              f32_out(dup) + begin, n);
    } else {
      kernels::silu_mul_slope(bf16(gate) + begin, bf16(up) + begin, bf16(grad) + begin, nullptr,
                              bf16_out(dgate) + begin, bf16_out(dup) + begin, n);
    }
  });
  return {dgate, dup};
}

at::Tensor differentiable_silu_mul(const at::Tensor& gate, const at::Tensor& up) {
  const auto forward = [&](Tensors& saved) -> Tensors {
    saved = {gate, up};
    return {silu_mul_forward(gate, up)};
  };
  return differentiable({gate, up}, forward, silu_mul_backward).front();
}

at::Tensor row_logsumexp_forward(const at::Tensor& logits) {
  TL_CHECK(logits.device().is_cpu(), "row_logsumexp runs on the CPU only");
  TL_CHECK(logits.dim() == 2 && logits.scalar_type() == at::kFloat, "row_logsumexp: wants fp32 [rows, n]");
  const at::Tensor in = logits.contiguous();
  const int64_t rows = in.size(0), n = in.size(1);
  at::Tensor out = at::empty({rows}, in.options());
  parallel_for(0, rows, row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f32_out(out)[r] = kernels::logsumexp(f32(in) + r * n, n);
  });
  return out;
}

at::Tensor differentiable_logsumexp(const at::Tensor& logits) {
  const auto forward = [&](Tensors& saved) -> Tensors {
    at::Tensor out = row_logsumexp_forward(logits);
    saved = {logits, out};
    return {out};
  };
  return differentiable({logits}, forward,
                        [](const NodeSlopes& node) -> Tensors {
                          return {node.saved[0].sub(node.saved[1].unsqueeze(1)).exp().mul(node.grads[0].unsqueeze(1))};
                        })
      .front();
}

}  // namespace

void rms_norm_slope(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& g, double eps,
                    const at::Tensor& add, at::Tensor& dx, at::Tensor* dweight) {
  check_element_type(x, "rms_norm_slope");
  const int64_t n = weight.numel(), rows = x.size(0), heads = x.dim() == 3 ? x.size(1) : 1;
  const auto fits = [&](const at::Tensor& t) {
    return t.sizes() == x.sizes() && t.scalar_type() == x.scalar_type() && t.stride(-1) == 1 &&
           (heads == 1 || t.stride(1) == n);
  };
  TL_CHECK(x.size(-1) == n && fits(x) && fits(g) && fits(dx) && weight.scalar_type() == x.scalar_type() &&
               (!add.defined() || (add.is_contiguous() && add.numel() == x.numel())),
           "rms_norm_slope: shapes, strides or dtypes do not match");
  const at::Tensor w = weight.contiguous();
  // The weight's slope is summed in slices of rows, whose number depends on the rows alone, and then over the slices.
  const int64_t slices = std::clamp<int64_t>(rows / 64, 1, 32);
  at::Tensor sums = at::zeros({slices, n}, at::kFloat);
  parallel_for(0, slices, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slice = begin; slice < end; ++slice) {
      float* dw = f32_out(sums) + slice * n;
      for (int64_t r = rows * slice / slices; r < rows * (slice + 1) / slices; ++r) {
        const int64_t at = r * heads * n;
        if (x.scalar_type() == at::kFloat) {
          kernels::rms_norm_slope(f32(x) + r * x.stride(0), f32(w), f32(g) + r * g.stride(0),
                                  add.defined() ? f32(add) + at : nullptr, f32_out(dx) + r * dx.stride(0), dw, heads, n,
                                  eps);
        } else {
          kernels::rms_norm_slope(bf16(x) + r * x.stride(0), bf16(w), bf16(g) + r * g.stride(0),
                                  add.defined() ? bf16(add) + at : nullptr, bf16_out(dx) + r * dx.stride(0), dw, heads,
                                  n, eps);
        }
      }
    }
  });
  if (dweight != nullptr) *dweight = sums.sum(0);
}

at::Tensor silu_mul_joined(const at::Tensor& gate_up) {
  check_element_type(gate_up, "silu_mul_joined");
  const int64_t rows = gate_up.size(0), n = gate_up.size(1) / 2;
  at::Tensor y = at::empty({rows, n}, gate_up.options());
  parallel_for(0, rows, row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (gate_up.scalar_type() == at::kFloat) {
        const float* gate = f32(gate_up) + 2 * n * r;
        kernels::silu_mul(gate, gate + n, f32_out(y) + n * r, n);
      } else {
        const uint16_t* gate = bf16(gate_up) + 2 * n * r;
        kernels::silu_mul(gate, gate + n, bf16_out(y) + n * r, n);
      }
    }
  });
  return y;
}

void silu_mul_joined_slope(at::Tensor& gate_up, at::Tensor& g) {
  const int64_t rows = gate_up.size(0), n = gate_up.size(1) / 2;
  TL_CHECK(gate_up.is_contiguous() && g.is_contiguous() && g.size(1) == n,
           "silu_mul_joined_slope: shapes do not match");
  parallel_for(0, rows, row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (g.scalar_type() == at::kFloat) {
        float *gate = f32_out(gate_up) + 2 * n * r, *up = gate + n, *y = f32_out(g) + n * r;
        kernels::silu_mul_slope(gate, up, y, y, gate, up, n);
      } else {
        uint16_t *gate = bf16_out(gate_up) + 2 * n * r, *up = gate + n, *y = bf16_out(g) + n * r;
        kernels::silu_mul_slope(gate, up, y, y, gate, up, n);
      }
    }
  });
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& into) {
  if (needs_grad({&x, &weight}) && !into.defined()) return differentiable_rms_norm(x, weight, eps);
  return rms_norm_forward(x, weight, eps, into);
}

at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) {
  return needs_grad({&gate, &up}) ? differentiable_silu_mul(gate, up) : silu_mul_forward(gate, up);
}

at::Tensor selected_rows(const at::Tensor& x, const at::Tensor& rows) {
  return rows.defined() ? at::index_select(x, 0, rows) : x;
}

at::Tensor row_logsumexp(const at::Tensor& logits) {
  return needs_grad({&logits}) ? differentiable_logsumexp(logits) : row_logsumexp_forward(logits);
}

}  // namespace throughline::ops

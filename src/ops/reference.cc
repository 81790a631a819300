#include "ops/reference.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>

namespace throughline::ops {
namespace {

// A copy in double to loop over.
at::Tensor wide(const at::Tensor& t) { return t.detach().to(at::kDouble).contiguous(); }
const double* values(const at::Tensor& t) { return t.const_data_ptr<double>(); }
double* values_out(at::Tensor& t) { return t.mutable_data_ptr<double>(); }

}  // namespace

at::Tensor linear_reference(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor a = wide(x), w = wide(weight), b = bias.defined() ? wide(bias) : at::Tensor();
  const int64_t rows = a.size(0), in = a.size(1), out = w.size(0);
  at::Tensor y = at::empty({rows, out}, at::kDouble);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = b.defined() ? values(b)[o] : 0;
      for (int64_t k = 0; k < in; ++k) sum += values(a)[r * in + k] * values(w)[o * in + k];
      values_out(y)[r * out + o] = sum;
    }
  }
  return y.to(x.scalar_type());
}

at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps) {
  at::Tensor normed = wide(x);
  const int64_t n = weight.numel();
  for (int64_t r = 0; r < normed.numel() / n; ++r) {
    double* row = values_out(normed) + r * n;
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) squares += row[i] * row[i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + eps);
    for (int64_t i = 0; i < n; ++i) row[i] *= scale;
  }
  return normed.to(x.scalar_type()).to(at::kDouble).mul(wide(weight)).to(x.scalar_type());
}

at::Tensor silu_mul_reference(const at::Tensor& gate, const at::Tensor& up) {
  at::Tensor silu = wide(gate);
  for (int64_t i = 0; i < silu.numel(); ++i) values_out(silu)[i] /= 1 + std::exp(-values(silu)[i]);
  return silu.to(gate.scalar_type()).to(at::kDouble).mul(wide(up)).to(gate.scalar_type());
}

at::Tensor rope_reference(const at::Tensor& x, const RopeAngles& angles) {
  const at::Tensor in = wide(x), cos = wide(angles.cos), sin = wide(angles.sin);
  const int64_t rows = in.size(0), heads = in.size(1), dim = in.size(2), half = dim / 2;
  at::Tensor y = at::empty_like(in);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      const double* a = values(in) + (r * heads + h) * dim;
      double* b = values_out(y) + (r * heads + h) * dim;
      for (int64_t i = 0; i < half; ++i) {
        const double c = values(cos)[r * half + i], s = values(sin)[r * half + i];
        b[i] = a[i] * c - a[i + half] * s;
        b[i + half] = a[i + half] * c + a[i] * s;
      }
    }
  }
  return y.to(x.scalar_type());
}

at::Tensor row_logsumexp_reference(const at::Tensor& logits) {
  const at::Tensor in = wide(logits);
  at::Tensor out = at::empty({in.size(0)}, at::kDouble);
  for (int64_t r = 0; r < in.size(0); ++r) {
    const double* row = values(in) + r * in.size(1);
    double peak = row[0], sum = 0;
    for (int64_t i = 0; i < in.size(1); ++i) peak = std::max(peak, row[i]);
    for (int64_t i = 0; i < in.size(1); ++i) sum += std::exp(row[i] - peak);
    values_out(out)[r] = peak + std::log(sum);
  }
  return out.to(at::kFloat);
}

}  // namespace throughline::ops

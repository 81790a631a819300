#include "ops/row_kernels.h"

#include <cmath>
#include <limits>

#include "ops/cpu/highway_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/row_kernels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::HWY_NAMESPACE {

using kernels::ScaledSoftmax;

template <class T>
void rms_norm_rows(const T* x, const T* weight, T* y, int64_t rows, int64_t n, double eps) {
  const FloatTag df;
  const auto step = static_cast<int64_t>(lanes());
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    auto sum = hn::Zero(df);
    for (int64_t i = 0; i < n; i += step) {
      const auto v = load_floats(x + i, static_cast<size_t>(n - i));
      sum = hn::MulAdd(v, v, sum);
    }
    const float mean = sum_of_lanes(sum) / static_cast<float>(n);
    const auto scale = hn::Set(df, 1.0F / std::sqrt(mean + static_cast<float>(eps)));
    for (int64_t i = 0; i < n; i += step) {
      const auto count = static_cast<size_t>(n - i);
      const auto normed = round_to(hn::Mul(load_floats(x + i, count), scale), y);
      store_floats(hn::Mul(normed, load_floats(weight + i, count)), y + i, count);
    }
  }
}

template <class T>
void rms_norm_slope_rows(const T* x, const T* weight, const T* g, const T* add, T* dx, float* dw, int64_t rows,
                         int64_t n, double eps) {
  const FloatTag df;
  const auto step = static_cast<int64_t>(lanes());
  for (int64_t r = 0; r < rows; ++r, x += n, g += n, dx += n) {
    auto squares = hn::Zero(df), along = hn::Zero(df);
    for (int64_t i = 0; i < n; i += step) {
      const auto count = static_cast<size_t>(n - i);
      const auto v = load_floats(x + i, count);
      squares = hn::MulAdd(v, v, squares);
      along = hn::MulAdd(hn::Mul(load_floats(g + i, count), load_floats(weight + i, count)), v, along);
    }
    const auto width = static_cast<float>(n);
    const float scale = 1.0F / std::sqrt(sum_of_lanes(squares) / width + static_cast<float>(eps));
    const auto s = hn::Set(df, scale);
    const auto pull = hn::Set(df, sum_of_lanes(along) * scale / width);  // mean(g w m)
    for (int64_t i = 0; i < n; i += step) {
      const auto count = static_cast<size_t>(n - i);
      const auto m = hn::Mul(load_floats(x + i, count), s);
      const auto slope = load_floats(g + i, count);
      store_floats(hn::MulAdd(slope, round_to(m, x), load_floats(dw + i, count)), dw + i, count);
      auto out = hn::Mul(hn::NegMulAdd(m, pull, hn::Mul(slope, load_floats(weight + i, count))), s);
      if (add != nullptr) out = hn::Add(out, load_floats(add + i, count));
      store_floats(out, dx + i, count);
    }
    if (add != nullptr) add += n;
  }
}

template <class T>
void silu_mul_slope_span(const T* gate, const T* up, const T* g, T* y, T* dgate, T* dup, int64_t n) {
  const FloatTag df;
  const auto one = hn::Set(df, 1.0F), limit = hn::Set(df, 88.0F);
  const auto step = static_cast<int64_t>(lanes());
  for (int64_t i = 0; i < n; i += step) {
    const auto count = static_cast<size_t>(n - i);
    const auto x = load_floats(gate + i, count), u = load_floats(up + i, count), slope = load_floats(g + i, count);
    const auto sigma = hn::Div(one, hn::Add(one, hn::Exp(df, hn::Min(hn::Neg(x), limit))));
    const auto silu = round_to(hn::Mul(x, sigma), gate);
    if (y != nullptr) store_floats(hn::Mul(silu, u), y + i, count);
    const auto bend = hn::Mul(sigma, hn::MulAdd(x, hn::Sub(one, sigma), one));  // silu'
    store_floats(hn::Mul(hn::Mul(slope, u), bend), dgate + i, count);
    store_floats(hn::Mul(slope, silu), dup + i, count);
  }
}

template <class T>
void finish_product_row(const float* c, const T* bias, const T* add, T* y, int64_t n) {
  const auto step = static_cast<int64_t>(lanes());
  for (int64_t i = 0; i < n; i += step) {
    const auto count = static_cast<size_t>(n - i);
    auto v = load_floats(c + i, count);
    if (bias != nullptr) v = hn::Add(v, load_floats(bias + i, count));
    if (add != nullptr) v = hn::Add(load_floats(add + i, count), round_to(v, y));
    store_floats(v, y + i, count);
  }
}

template <class T>
void finish_logits_row(const float* c, const T* bias, float* y, int64_t n) {
  const auto step = static_cast<int64_t>(lanes());
  for (int64_t i = 0; i < n; i += step) {
    const auto count = static_cast<size_t>(n - i);
    auto v = load_floats(c + i, count);
    if (bias != nullptr) v = hn::Add(v, load_floats(bias + i, count));
    store_floats(round_to(v, bias), y + i, count);
  }
}

template <class T>
void silu_mul_span(const T* gate, const T* up, T* y, int64_t n) {
  const FloatTag df;
  const auto one = hn::Set(df, 1.0F);
  // exp(88) is finite; below -88 silu is under 1e-36 either way, and NaN comes through the numerator.
  const auto limit = hn::Set(df, 88.0F);
  const auto step = static_cast<int64_t>(lanes());
  for (int64_t i = 0; i < n; i += step) {
    const auto count = static_cast<size_t>(n - i);
    const auto g = load_floats(gate + i, count);
    const auto e = hn::Exp(df, hn::Min(hn::Neg(g), limit));
    const auto silu = round_to(hn::Div(g, hn::Add(one, e)), y);
    store_floats(hn::Mul(silu, load_floats(up + i, count)), y + i, count);
  }
}

template <class T>
void rope_heads(const T* x, int64_t head_stride, const float* cos, const float* sin, float sign, T* y, int64_t heads,
                int64_t half) {
  const FloatTag df;
  const auto signs = hn::Set(df, sign);
  const auto step = static_cast<int64_t>(lanes());
  for (int64_t h = 0; h < heads; ++h, x += head_stride, y += 2 * half) {
    for (int64_t i = 0; i < half; i += step) {
      const auto count = static_cast<size_t>(half - i);
      const auto c = load_floats(cos + i, count);
      const auto s = hn::Mul(signs, load_floats(sin + i, count));
      const auto a = load_floats(x + i, count);
      const auto b = load_floats(x + half + i, count);
      store_floats(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), y + i, count);
      store_floats(hn::Add(hn::Mul(b, c), hn::Mul(a, s)), y + half + i, count);
    }
  }
}

float logsumexp_row(const float* x, int64_t n) {
  const FloatTag df;
  const auto step = static_cast<int64_t>(lanes());
  const auto lowest = hn::Set(df, -std::numeric_limits<float>::infinity());
  auto peak = lowest;
  bool has_nan = false;
  for (int64_t i = 0; i < n; i += step) {
    const auto v = load_floats(x + i, static_cast<size_t>(n - i));
    has_nan = has_nan || !hn::AllFalse(df, hn::IsNaN(v));
    const auto active = hn::FirstN(df, static_cast<size_t>(n - i));
    peak = hn::Max(peak, hn::IfThenElse(active, v, lowest));
  }
  if (has_nan) return std::numeric_limits<float>::quiet_NaN();
  const float largest = hn::GetLane(hn::MaxOfLanes(df, peak));
  if (!std::isfinite(largest)) return largest;
  const auto shift = hn::Set(df, largest);
  auto sum = hn::Zero(df);
  for (int64_t i = 0; i < n; i += step) {
    const auto count = static_cast<size_t>(n - i);
    const auto e = hn::Exp(df, hn::Sub(load_floats(x + i, count), shift));
    sum = hn::Add(sum, hn::IfThenElseZero(hn::FirstN(df, count), e));
  }
  return largest + std::log(sum_of_lanes(sum));
}

float largest_of_row(const float* x, int64_t n) {
  const FloatTag df;
  const auto step = static_cast<int64_t>(lanes());
  const auto lowest = hn::Set(df, -std::numeric_limits<float>::infinity());
  auto peak = lowest;
  for (int64_t i = 0; i < n; i += step) {
    const auto count = static_cast<size_t>(n - i);
    peak = hn::Max(peak, hn::IfThenElse(hn::FirstN(df, count), load_floats(x + i, count), lowest));
  }
  return hn::GetLane(hn::MaxOfLanes(df, peak));
}

float softmax_weights_row(const float* x, int64_t n, float peak, float inverse_temperature, float* weights) {
  const FloatTag df;
  const auto step = static_cast<int64_t>(lanes());
  const auto shift = hn::Set(df, peak), scale = hn::Set(df, inverse_temperature);
  const auto floor = hn::Set(df, -1000.0F);  // -inf weighs nothing
  auto sum = hn::Zero(df);
  for (int64_t i = 0; i < n; i += step) {
    const auto count = static_cast<size_t>(n - i);
    const auto z = hn::Max(hn::Mul(hn::Sub(load_floats(x + i, count), shift), scale), floor);
    const auto e = hn::IfThenElseZero(hn::FirstN(df, count), hn::Exp(df, z));
    store_floats(e, weights + i, count);
    sum = hn::Add(sum, e);
  }
  return sum_of_lanes(sum);
}

ScaledSoftmax scaled_softmax_row(const float* x, int64_t n, float inverse_temperature) {
  const FloatTag df;
  const auto step = static_cast<int64_t>(lanes());
  ScaledSoftmax out;
  out.peak = largest_of_row(x, n);
  out.inverse_temperature = inverse_temperature;
  const auto shift = hn::Set(df, out.peak), scale = hn::Set(df, inverse_temperature);
  // A forbidden id (-inf) weighs nothing; 0 * inf must not reach the entropy.
  const auto floor = hn::Set(df, -1000.0F);
  auto sum = hn::Zero(df), weighted = hn::Zero(df);
  for (int64_t i = 0; i < n; i += step) {
    const auto count = static_cast<size_t>(n - i);
    const auto z = hn::Max(hn::Mul(hn::Sub(load_floats(x + i, count), shift), scale), floor);
    const auto e = hn::IfThenElseZero(hn::FirstN(df, count), hn::Exp(df, z));
    sum = hn::Add(sum, e);
    weighted = hn::MulAdd(e, z, weighted);
  }
  const float total = sum_of_lanes(sum);
  out.log_sum = std::log(total);
  out.entropy = out.log_sum - sum_of_lanes(weighted) / total;
  return out;
}

void logprob_slope_row(const float* x, float* dx, int64_t n, const ScaledSoftmax& softmax, int64_t target,
                       float gradient) {
  const FloatTag df;
  const auto step = static_cast<int64_t>(lanes());
  const float slope = gradient * softmax.inverse_temperature;
  const auto shift = hn::Set(df, softmax.peak), scale = hn::Set(df, softmax.inverse_temperature);
  const auto log_sum = hn::Set(df, softmax.log_sum), minus = hn::Set(df, -slope);
  const auto floor = hn::Set(df, -1000.0F);
  for (int64_t i = 0; i < n; i += step) {
    const auto count = static_cast<size_t>(n - i);
    const auto z = hn::Sub(hn::Mul(hn::Sub(load_floats(x + i, count), shift), scale), log_sum);
    store_floats(hn::Mul(minus, hn::Exp(df, hn::Max(z, floor))), dx + i, count);
  }
  dx[target] += slope;
}

void RmsNormF32(const float* x, const float* w, float* y, int64_t rows, int64_t n, double eps) {
  rms_norm_rows(x, w, y, rows, n, eps);
}
void RmsNormBF16(const uint16_t* x, const uint16_t* w, uint16_t* y, int64_t rows, int64_t n, double eps) {
  rms_norm_rows(x, w, y, rows, n, eps);
}
void RmsNormSlopeF32(const float* x, const float* w, const float* g, const float* add, float* dx, float* dw,
                     int64_t rows, int64_t n, double eps) {
  rms_norm_slope_rows(x, w, g, add, dx, dw, rows, n, eps);
}
void RmsNormSlopeBF16(const uint16_t* x, const uint16_t* w, const uint16_t* g, const uint16_t* add, uint16_t* dx,
                      float* dw, int64_t rows, int64_t n, double eps) {
  rms_norm_slope_rows(x, w, g, add, dx, dw, rows, n, eps);
}
void SiluMulSlopeF32(const float* gate, const float* up, const float* g, float* y, float* dgate, float* dup,
                     int64_t n) {
  silu_mul_slope_span(gate, up, g, y, dgate, dup, n);
}
void SiluMulSlopeBF16(const uint16_t* gate, const uint16_t* up, const uint16_t* g, uint16_t* y, uint16_t* dgate,
                      uint16_t* dup, int64_t n) {
  silu_mul_slope_span(gate, up, g, y, dgate, dup, n);
}
void ToFloat(const uint16_t* x, float* y, int64_t n) {
  const auto step = static_cast<int64_t>(lanes());
  for (int64_t i = 0; i < n; i += step) {
    const auto count = static_cast<size_t>(n - i);
    store_floats(load_floats(x + i, count), y + i, count);
  }
}
void FinishProductF32(const float* c, const float* bias, const float* add, float* y, int64_t n) {
  finish_product_row(c, bias, add, y, n);
}
void FinishProductBF16(const float* c, const uint16_t* bias, const uint16_t* add, uint16_t* y, int64_t n) {
  finish_product_row(c, bias, add, y, n);
}
void FinishLogitsF32(const float* c, const float* bias, float* y, int64_t n) { finish_logits_row(c, bias, y, n); }
void FinishLogitsBF16(const float* c, const uint16_t* bias, float* y, int64_t n) { finish_logits_row(c, bias, y, n); }
void SiluMulF32(const float* gate, const float* up, float* y, int64_t n) { silu_mul_span(gate, up, y, n); }
void SiluMulBF16(const uint16_t* gate, const uint16_t* up, uint16_t* y, int64_t n) { silu_mul_span(gate, up, y, n); }
void RopeF32(const float* x, int64_t stride, const float* cos, const float* sin, float sign, float* y, int64_t heads,
             int64_t half) {
  rope_heads(x, stride, cos, sin, sign, y, heads, half);
}
void RopeBF16(const uint16_t* x, int64_t stride, const float* cos, const float* sin, float sign, uint16_t* y,
              int64_t heads, int64_t half) {
  rope_heads(x, stride, cos, sin, sign, y, heads, half);
}
float LogSumExp(const float* x, int64_t n) { return logsumexp_row(x, n); }
float Largest(const float* x, int64_t n) { return largest_of_row(x, n); }
float SoftmaxWeights(const float* x, int64_t n, float peak, float inverse_temperature, float* weights) {
  return softmax_weights_row(x, n, peak, inverse_temperature, weights);
}
ScaledSoftmax Softmax(const float* x, int64_t n, float inverse_temperature) {
  return scaled_softmax_row(x, n, inverse_temperature);
}
void LogprobSlope(const float* x, float* dx, int64_t n, const ScaledSoftmax& softmax, int64_t target, float gradient) {
  logprob_slope_row(x, dx, n, softmax, target, gradient);
}

}  // namespace throughline::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace throughline::ops {
HWY_EXPORT(RmsNormF32);
HWY_EXPORT(RmsNormBF16);
HWY_EXPORT(RmsNormSlopeF32);
HWY_EXPORT(RmsNormSlopeBF16);
HWY_EXPORT(SiluMulSlopeF32);
HWY_EXPORT(SiluMulSlopeBF16);
HWY_EXPORT(ToFloat);
HWY_EXPORT(FinishProductF32);
HWY_EXPORT(FinishProductBF16);
HWY_EXPORT(FinishLogitsF32);
HWY_EXPORT(FinishLogitsBF16);
HWY_EXPORT(SiluMulF32);
HWY_EXPORT(SiluMulBF16);
HWY_EXPORT(RopeF32);
HWY_EXPORT(RopeBF16);
HWY_EXPORT(LogSumExp);
HWY_EXPORT(Largest);
HWY_EXPORT(SoftmaxWeights);
HWY_EXPORT(Softmax);
HWY_EXPORT(LogprobSlope);

namespace kernels {

void rms_norm(const float* x, const float* weight, float* y, int64_t rows, int64_t n, double eps) {
  HWY_DYNAMIC_DISPATCH(RmsNormF32)(x, weight, y, rows, n, eps);
}
void rms_norm(const uint16_t* x, const uint16_t* weight, uint16_t* y, int64_t rows, int64_t n, double eps) {
  HWY_DYNAMIC_DISPATCH(RmsNormBF16)(x, weight, y, rows, n, eps);
}
void rms_norm_slope(const float* x, const float* weight, const float* g, const float* add, float* dx, float* dw,
                    int64_t rows, int64_t n, double eps) {
  HWY_DYNAMIC_DISPATCH(RmsNormSlopeF32)(x, weight, g, add, dx, dw, rows, n, eps);
}
void rms_norm_slope(const uint16_t* x, const uint16_t* weight, const uint16_t* g, const uint16_t* add, uint16_t* dx,
                    float* dw, int64_t rows, int64_t n, double eps) {
  HWY_DYNAMIC_DISPATCH(RmsNormSlopeBF16)(x, weight, g, add, dx, dw, rows, n, eps);
}
void silu_mul_slope(const float* gate, const float* up, const float* g, float* y, float* dgate, float* dup, int64_t n) {
  HWY_DYNAMIC_DISPATCH(SiluMulSlopeF32)(gate, up, g, y, dgate, dup, n);
}
void silu_mul_slope(const uint16_t* gate, const uint16_t* up, const uint16_t* g, uint16_t* y, uint16_t* dgate,
                    uint16_t* dup, int64_t n) {
  HWY_DYNAMIC_DISPATCH(SiluMulSlopeBF16)(gate, up, g, y, dgate, dup, n);
}
void silu_mul(const float* gate, const float* up, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(SiluMulF32)(gate, up, y, n);
}
void silu_mul(const uint16_t* gate, const uint16_t* up, uint16_t* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(SiluMulBF16)(gate, up, y, n);
}
void to_float(const uint16_t* x, float* y, int64_t n) { HWY_DYNAMIC_DISPATCH(ToFloat)(x, y, n); }
void finish_product(const float* c, const float* bias, const float* add, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(FinishProductF32)(c, bias, add, y, n);
}
void finish_product(const float* c, const uint16_t* bias, const uint16_t* add, uint16_t* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(FinishProductBF16)(c, bias, add, y, n);
}
void finish_logits(const float* c, const float* bias, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(FinishLogitsF32)(c, bias, y, n);
}
void finish_logits(const float* c, const uint16_t* bias, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(FinishLogitsBF16)(c, bias, y, n);
}
void rope_row(const float* x, int64_t head_stride, const float* cos, const float* sin, float sign, float* y,
              int64_t heads, int64_t half) {
  HWY_DYNAMIC_DISPATCH(RopeF32)(x, head_stride, cos, sin, sign, y, heads, half);
}
void rope_row(const uint16_t* x, int64_t head_stride, const float* cos, const float* sin, float sign, uint16_t* y,
              int64_t heads, int64_t half) {
  HWY_DYNAMIC_DISPATCH(RopeBF16)(x, head_stride, cos, sin, sign, y, heads, half);
}
float logsumexp(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(LogSumExp)(x, n); }
float largest(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(Largest)(x, n); }
float softmax_weights(const float* x, int64_t n, float peak, float inverse_temperature, float* weights) {
  return HWY_DYNAMIC_DISPATCH(SoftmaxWeights)(x, n, peak, inverse_temperature, weights);
}
ScaledSoftmax scaled_softmax(const float* x, int64_t n, float inverse_temperature) {
  return HWY_DYNAMIC_DISPATCH(Softmax)(x, n, inverse_temperature);
}
void logprob_slope(const float* x, float* dx, int64_t n, const ScaledSoftmax& softmax, int64_t target, float gradient) {
  HWY_DYNAMIC_DISPATCH(LogprobSlope)(x, dx, n, softmax, target, gradient);
}

}  // namespace kernels
}  // namespace throughline::ops
#endif  // HWY_ONCE

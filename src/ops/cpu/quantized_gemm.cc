#include "ops/cpu/quantized_gemm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "ops/cpu/highway_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/quantized_gemm.cc"
// clang-format off
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "ops/simd-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::HWY_NAMESPACE {

using kernels::kPanelRows;
using kernels::kQuantGroup;
using kernels::QuantizedRows;
using IntTag = hn::RebindToSigned<FloatTag>;

// ---------------------------------------------------------------- rows of X

template <class T>
HWY_INLINE void quantize_group(const T* x, int64_t count, int32_t offset, int8_t* values, float* scale_out,
                               int32_t* offset_out) {
  const FloatTag df;
  const IntTag di;
  const hn::Rebind<int8_t, FloatTag> d8;
  const auto step = static_cast<int64_t>(lanes());
  auto largest = hn::Zero(df);
  for (int64_t i = 0; i < count; i += step)
    largest = hn::Max(largest, hn::Abs(load_floats(x + i, static_cast<size_t>(count - i))));
  const float peak = hn::GetLane(hn::MaxOfLanes(df, largest));
  const float scale = peak / 127.0F;
  // A group of zeros, or of numbers so small that 127 / peak overflows, is a group of zeros.
  const auto inverse = hn::Set(df, peak > 1e-36F ? 127.0F / peak : 0.0F);
  auto sum = hn::Zero(di);
  for (int64_t i = 0; i < kQuantGroup; i += step) {
    const auto v = i < count ? load_floats(x + i, static_cast<size_t>(count - i)) : hn::Zero(df);
    const auto q = hn::NearestInt(hn::Mul(v, inverse));
    sum = hn::Add(sum, q);
    hn::StoreU(hn::DemoteTo(d8, q), d8, values + i);
  }
  *scale_out = scale;
  *offset_out = offset * hn::GetLane(hn::SumOfLanes(di, sum));
}

template <class T>
void quantize_all(const T* x, int64_t x_row, int64_t depth, int32_t offset, const QuantizedRows& out) {
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t g = 0; g < out.groups; ++g) {
      const int64_t from = g * kQuantGroup, at = r * out.groups + g;
      quantize_group(x + r * x_row + from, HWY_MIN(kQuantGroup, depth - from), offset, out.values + at * kQuantGroup,
                     out.scales + at, out.offsets + at);
    }
  }
}

// ---------------------------------------------------------------- products, for machines without VNNI or AVX2

// The same sums as the integer instruction makes, in fp32: every product and partial sum is a whole number under 2^24.
template <int kByteShifts>
HWY_INLINE FloatVec group_dots(const uint8_t* words, int64_t word_count, int64_t lane, const int8_t* x, FloatVec sum) {
  const FloatTag df;
  const IntTag di;
  for (int64_t i = 0; i < word_count; ++i) {
    const auto word = hn::LoadU(di, reinterpret_cast<const int32_t*>(words + i * 64) + lane);
    for (int part = 0; part < kByteShifts; ++part) {
      for (int j = 0; j < 4; ++j) {
        const int shift = 8 * j + 4 * part;
        const auto bits = hn::And(hn::ShiftRightSame(word, shift), hn::Set(di, kByteShifts == 1 ? 255 : 15));
        const auto q = hn::Set(df, static_cast<float>(x[(i * kByteShifts + part) * 4 + j]));
        sum = hn::MulAdd(hn::ConvertTo(df, bits), q, sum);
      }
    }
  }
  return sum;
}

HWY_INLINE FloatVec bf16_scales(const uint16_t* p) { return load_floats(p); }

template <bool kInt4, class Scale>
void gemm_panels(const QuantizedRows& x, const uint8_t* w, const Scale* scales, int64_t panels, float* c,
                 int64_t c_row) {
  const FloatTag df;
  constexpr int64_t kWords = kInt4 ? 4 : 8;  // of a group
  const auto step = static_cast<int64_t>(lanes());
  for (int64_t p = 0; p < panels; ++p) {
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t lane = 0; lane < kPanelRows; lane += step) {
        auto sum = hn::Zero(df);
        for (int64_t g = 0; g < x.groups; ++g) {
          const int64_t at = r * x.groups + g;
          auto dots = hn::Set(df, static_cast<float>(x.offsets[at]));
          dots = group_dots < kInt4
                     ? 2
                     : 1 > (w + (p * x.groups + g) * kWords * 64, kWords, lane, x.values + at * kQuantGroup, dots);
          auto scale = hn::Set(df, x.scales[at]);
          if (kInt4) scale = hn::Mul(load_floats(scales + (p * x.groups + g) * kPanelRows + lane), scale);
          sum = hn::MulAdd(dots, scale, sum);
        }
        if (!kInt4) sum = hn::Mul(sum, load_floats(scales + p * kPanelRows + lane));
        hn::StoreU(sum, df, c + r * c_row + p * kPanelRows + lane);
      }
    }
  }
}

void QuantizeF32(const float* x, int64_t x_row, int64_t depth, int32_t offset, const QuantizedRows& out) {
  quantize_all(x, x_row, depth, offset, out);
}
void QuantizeBF16(const uint16_t* x, int64_t x_row, int64_t depth, int32_t offset, const QuantizedRows& out) {
  quantize_all(x, x_row, depth, offset, out);
}
void Int8Panels(const QuantizedRows& x, const uint8_t* w, const float* scales, int64_t panels, float* c,
                int64_t c_row) {
  gemm_panels<false>(x, w, scales, panels, c, c_row);
}
void Int4Panels(const QuantizedRows& x, const uint8_t* w, const uint16_t* scales, int64_t panels, float* c,
                int64_t c_row) {
  gemm_panels<true>(x, w, scales, panels, c, c_row);
}

// ---------------------------------------------------------------- packing

// q = clamp(round(w * inverse), low, high); also sums for a least-squares fit of the scale.
HWY_INLINE void round_weights(const float* w, int64_t count, float inverse, float low, float high, int32_t* q,
                              float* wq_out, float* qq_out) {
  const FloatTag df;
  const IntTag di;
  const auto step = static_cast<int64_t>(lanes());
  auto wq = hn::Zero(df), qq = hn::Zero(df);
  for (int64_t i = 0; i < count; i += step) {
    const auto v = load_floats(w + i, static_cast<size_t>(count - i));
    const auto scaled = hn::Min(hn::Max(hn::Mul(v, hn::Set(df, inverse)), hn::Set(df, low)), hn::Set(df, high));
    const auto rounded = hn::NearestInt(scaled);
    hn::StoreU(rounded, di, q + i);
    const auto f = hn::ConvertTo(df, rounded);
    wq = hn::MulAdd(v, f, wq);
    qq = hn::MulAdd(f, f, qq);
  }
  *wq_out = sum_of_lanes(wq);
  *qq_out = sum_of_lanes(qq);
}

HWY_INLINE float largest_magnitude(const float* w, int64_t count) {
  const FloatTag df;
  auto largest = hn::Zero(df);
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(lanes()))
    largest = hn::Max(largest, hn::Abs(load_floats(w + i, static_cast<size_t>(count - i))));
  return hn::GetLane(hn::MaxOfLanes(df, largest));
}

// The scale of one row in int8 and its numbers, `padded` of them.
void RoundRowInt8(const float* w, int64_t depth, int32_t* q, float* scale) {
  const float peak = largest_magnitude(w, depth);
  float wq, qq;
  *scale = peak / 127.0F;
  round_weights(w, depth, peak > 1e-30F ? 127.0F / peak : 0.0F, -127, 127, q, &wq, &qq);
}

// bf16, to nearest: what the scale will be read as.
HWY_INLINE float through_bf16(float v) {
  const FloatTag df;
  return hn::GetLane(round_to(hn::Set(df, v), static_cast<const uint16_t*>(nullptr)));
}

// One group in int4: the largest number becomes -8 or 7 units, then the unit is fitted once to the numbers it gave.
void RoundGroupInt4(const float* w, int64_t count, int32_t* q, float* scale) {
  const float peak = largest_magnitude(w, count);
  if (!(peak > 1e-30F)) {
    *scale = 0;
    for (int64_t i = 0; i < kQuantGroup; ++i) q[i] = 0;
    return;
  }
  float signed_peak = peak;
  for (int64_t i = 0; i < count; ++i) {
    if (w[i] == -peak) signed_peak = -peak;
  }
  float unit = through_bf16(signed_peak / -8.0F), wq, qq;
  round_weights(w, count, 1.0F / unit, -8, 7, q, &wq, &qq);
  if (qq > 0 && wq != 0) {
    unit = through_bf16(wq / qq);
    round_weights(w, count, 1.0F / unit, -8, 7, q, &wq, &qq);
  }
  *scale = unit;
}

}  // namespace throughline::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace throughline::ops {
HWY_EXPORT(QuantizeF32);
HWY_EXPORT(QuantizeBF16);
HWY_EXPORT(Int8Panels);
HWY_EXPORT(Int4Panels);
HWY_EXPORT(RoundRowInt8);
HWY_EXPORT(RoundGroupInt4);

namespace kernels {

void quantize_rows(const float* x, int64_t x_row, int64_t depth, int32_t offset, const QuantizedRows& out) {
  HWY_DYNAMIC_DISPATCH(QuantizeF32)(x, x_row, depth, offset, out);
}
void quantize_rows(const uint16_t* x, int64_t x_row, int64_t depth, int32_t offset, const QuantizedRows& out) {
  HWY_DYNAMIC_DISPATCH(QuantizeBF16)(x, x_row, depth, offset, out);
}

void int8_gemm(const QuantizedRows& x, const uint8_t* w, const float* scales, int64_t panels, float* c, int64_t c_row) {
  static const Int8Gemm vnni = int8_gemm_avx512_vnni(), native = vnni != nullptr ? vnni : int8_gemm_avx2();
  if (native != nullptr) return native(x, w, scales, panels, c, c_row);
  int8_gemm_portable(x, w, scales, panels, c, c_row);
}
void int8_gemm_portable(const QuantizedRows& x, const uint8_t* w, const float* scales, int64_t panels, float* c,
                        int64_t c_row) {
  HWY_DYNAMIC_DISPATCH(Int8Panels)(x, w, scales, panels, c, c_row);
}
void int4_gemm(const QuantizedRows& x, const uint8_t* w, const uint16_t* scales, int64_t panels, float* c,
               int64_t c_row) {
  static const Int4Gemm vnni = int4_gemm_avx512_vnni(), native = vnni != nullptr ? vnni : int4_gemm_avx2();
  if (native != nullptr) return native(x, w, scales, panels, c, c_row);
  int4_gemm_portable(x, w, scales, panels, c, c_row);
}
void int4_gemm_portable(const QuantizedRows& x, const uint8_t* w, const uint16_t* scales, int64_t panels, float* c,
                        int64_t c_row) {
  HWY_DYNAMIC_DISPATCH(Int4Panels)(x, w, scales, panels, c, c_row);
}

void pack_int8_panel(const float* w, int64_t w_row, int64_t rows, int64_t depth, uint8_t* out, float* scales) {
  const int64_t padded = (depth + kQuantGroup - 1) / kQuantGroup * kQuantGroup;
  std::memset(out, 128, static_cast<size_t>(padded * kPanelRows));
  std::fill_n(scales, kPanelRows, 0.0F);
  std::vector<int32_t> q(static_cast<size_t>(padded) + 16);
  for (int64_t r = 0; r < rows; ++r) {
    HWY_DYNAMIC_DISPATCH(RoundRowInt8)(w + r * w_row, depth, q.data(), scales + r);
    for (int64_t k = 0; k < depth; ++k)
      out[k / 4 * 64 + r * 4 + k % 4] = static_cast<uint8_t>(q[static_cast<size_t>(k)] + 128);
  }
}

void pack_int4_panel(const float* w, int64_t w_row, int64_t rows, int64_t depth, uint8_t* out, uint16_t* scales) {
  const int64_t groups = (depth + kQuantGroup - 1) / kQuantGroup;
  std::memset(out, 0x88, static_cast<size_t>(groups * kQuantGroup / 2 * kPanelRows));
  std::fill_n(scales, groups * kPanelRows, static_cast<uint16_t>(0));
  int32_t q[kQuantGroup + 16];
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t from = g * kQuantGroup, count = std::min(kQuantGroup, depth - from);
      float scale;
      HWY_DYNAMIC_DISPATCH(RoundGroupInt4)(w + r * w_row + from, count, q, &scale);
      uint32_t bits;
      std::memcpy(&bits, &scale, sizeof bits);
      scales[g * kPanelRows + r] = static_cast<uint16_t>(bits >> 16);  // exact: the scale is a bf16 number
      for (int64_t k = count; k < kQuantGroup; ++k) q[k] = 0;
      uint8_t* bytes = out + g * kQuantGroup / 2 * kPanelRows;
      for (int64_t k = 0; k < kQuantGroup; k += 8) {
        for (int64_t j = 0; j < 4; ++j)
          bytes[k / 8 * 64 + r * 4 + j] = static_cast<uint8_t>((q[k + j] + 8) | (q[k + 4 + j] + 8) << 4);
      }
    }
  }
}

void unpack_int8_row(const uint8_t* panel, const float* scales, int64_t row, int64_t depth, float* out) {
  for (int64_t k = 0; k < depth; ++k)
    out[k] = static_cast<float>(panel[k / 4 * 64 + row * 4 + k % 4] - 128) * scales[row];
}

void unpack_int4_row(const uint8_t* panel, const uint16_t* scales, int64_t row, int64_t depth, float* out) {
  for (int64_t k = 0; k < depth; ++k) {
    const uint8_t byte = panel[k / 8 * 64 + row * 4 + k % 4];
    const int q = (k % 8 < 4 ? byte & 15 : byte >> 4) - 8;
    const uint32_t bits = static_cast<uint32_t>(scales[k / kQuantGroup * kPanelRows + row]) << 16;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    out[k] = static_cast<float>(q) * scale;
  }
}

}  // namespace kernels
}  // namespace throughline::ops
#endif  // HWY_ONCE

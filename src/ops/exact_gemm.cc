#include "ops/exact_gemm.h"

#include <algorithm>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/exact_gemm.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "hwy/highway.h"
#include "ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::HWY_NAMESPACE {

// Rows of x kept unpacked in fp32 at a time: 64 rows of 2048 are 512 KiB, about a core's L2.
constexpr int64_t kRowBlock = 64;
constexpr int kTileRows = 4;
constexpr int kTileColumns = 4;

HWY_INLINE float bias_value(const float* bias, int64_t i) { return bias[i]; }
HWY_INLINE float bias_value(const uint16_t* bias, int64_t i) {
  const uint32_t bits = static_cast<uint32_t>(bias[i]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// One tile: x is fp32 [kRows, padded_in] (zero-padded to whole vectors), w points at kColumns rows of W.
template <int kRows, int kColumns, class T>
HWY_NOINLINE void tile(const float* x, int64_t padded_in, const T* w, int64_t in, const T* bias, T* y, int64_t out) {
  const FloatTag df;
  const auto step = static_cast<int64_t>(lanes());
  FloatVec acc[kRows][kColumns];
  TL_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TL_UNROLL
    for (int c = 0; c < kColumns; ++c) acc[r][c] = hn::Zero(df);
  }
  const int64_t whole = in - in % step;
  for (int64_t k = 0; k < whole; k += step) {
    FloatVec wv[kColumns];
    TL_UNROLL
    for (int c = 0; c < kColumns; ++c) wv[c] = load_floats(w + c * in + k);
    TL_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const auto xv = load_floats(x + r * padded_in + k);
      TL_UNROLL
      for (int c = 0; c < kColumns; ++c) acc[r][c] = hn::MulAdd(xv, wv[c], acc[r][c]);
    }
  }
  if (whole < in) {
    TL_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const auto wv = load_floats(w + c * in + whole, static_cast<size_t>(in - whole));
      TL_UNROLL
      for (int r = 0; r < kRows; ++r) acc[r][c] = hn::MulAdd(load_floats(x + r * padded_in + whole), wv, acc[r][c]);
    }
  }
  TL_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TL_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      float sum = sum_of_lanes(acc[r][c]);
      if (bias != nullptr) sum += bias_value(bias, c);
      store_floats(hn::Set(df, sum), y + r * out + c, 1);
    }
  }
}

template <int kColumns, class T>
void tile_rows(const float* x, int64_t padded_in, const T* w, int64_t in, const T* bias, T* y, int64_t out,
               int64_t rows) {
  int64_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows)
    tile<kTileRows, kColumns>(x + r * padded_in, padded_in, w, in, bias, y + r * out, out);
  for (; r < rows; ++r) tile<1, kColumns>(x + r * padded_in, padded_in, w, in, bias, y + r * out, out);
}

template <class T>
void gemm(const T* x, const T* w, const T* bias, T* y, int64_t rows, int64_t in, int64_t out, int64_t column_begin,
          int64_t column_end) {
  const auto step = static_cast<int64_t>(lanes());
  const int64_t padded_in = (in + step - 1) / step * step;
  std::vector<float> block(static_cast<size_t>(std::min(rows, kRowBlock) * padded_in));
  for (int64_t r0 = 0; r0 < rows; r0 += kRowBlock) {
    const int64_t block_rows = std::min(kRowBlock, rows - r0);
    for (int64_t r = 0; r < block_rows; ++r) {
      for (int64_t k = 0; k < in; k += step)
        store_floats(load_floats(x + (r0 + r) * in + k, static_cast<size_t>(in - k)), &block[r * padded_in + k]);
    }
    int64_t c = column_begin;
    for (; c + kTileColumns <= column_end; c += kTileColumns) {
      tile_rows<kTileColumns>(block.data(), padded_in, w + c * in, in, bias == nullptr ? nullptr : bias + c,
                              y + r0 * out + c, out, block_rows);
    }
    for (; c < column_end; ++c) {
      tile_rows<1>(block.data(), padded_in, w + c * in, in, bias == nullptr ? nullptr : bias + c, y + r0 * out + c, out,
                   block_rows);
    }
  }
}

void GemmF32(const float* x, const float* w, const float* bias, float* y, int64_t rows, int64_t in, int64_t out,
             int64_t column_begin, int64_t column_end) {
  gemm(x, w, bias, y, rows, in, out, column_begin, column_end);
}
void GemmBF16(const uint16_t* x, const uint16_t* w, const uint16_t* bias, uint16_t* y, int64_t rows, int64_t in,
              int64_t out, int64_t column_begin, int64_t column_end) {
  gemm(x, w, bias, y, rows, in, out, column_begin, column_end);
}

}  // namespace throughline::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace throughline::ops {
HWY_EXPORT(GemmF32);
HWY_EXPORT(GemmBF16);

namespace kernels {

void exact_gemm(const float* x, const float* w, const float* bias, float* y, int64_t rows, int64_t in, int64_t out,
                int64_t column_begin, int64_t column_end) {
  HWY_DYNAMIC_DISPATCH(GemmF32)(x, w, bias, y, rows, in, out, column_begin, column_end);
}
void exact_gemm(const uint16_t* x, const uint16_t* w, const uint16_t* bias, uint16_t* y, int64_t rows, int64_t in,
                int64_t out, int64_t column_begin, int64_t column_end) {
  HWY_DYNAMIC_DISPATCH(GemmBF16)(x, w, bias, y, rows, in, out, column_begin, column_end);
}

}  // namespace kernels
}  // namespace throughline::ops
#endif  // HWY_ONCE

#include "ops/cpu/dot_gemm.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/highway_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/dot_gemm.cc"
// clang-format off
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "ops/simd-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::HWY_NAMESPACE {

constexpr int kTile = 4;
// Bytes of W fetched ahead into L2 by the tiles that read its rows first (as in dot_gemm_avx512_bf16.cc).
constexpr int64_t kAheadBytes = 16 << 10;

// What one vector load of a row becomes: fp32, or the even and the odd elements of as many 32-bit words.
struct FloatPart {
  using Element = float;
  static constexpr int kParts = 1;
  static HWY_INLINE void load(const float* p, FloatVec* parts) { parts[0] = hn::LoadU(FloatTag(), p); }
};
struct Bf16Part {
  using Element = uint16_t;
  static constexpr int kParts = 2;
  static HWY_INLINE void load(const uint16_t* p, FloatVec* parts) {
    const FloatTag df;
    const hn::RebindToUnsigned<FloatTag> du;
    const hn::Repartition<uint16_t, FloatTag> dh;
    const auto words = hn::BitCast(du, hn::LoadU(dh, p));
    parts[0] = hn::BitCast(df, hn::ShiftLeft<16>(words));
    parts[1] = hn::BitCast(df, hn::And(words, hn::Set(du, 0xffff0000U)));
  }
};

template <class Part, int kRows, int kColumns>
HWY_INLINE void multiply(const typename Part::Element* const* x, const typename Part::Element* const* w,
                         FloatVec (&sums)[kRows][kColumns]) {
  FloatVec right[kColumns][Part::kParts];
  TL_UNROLL
  for (int c = 0; c < kColumns; ++c) Part::load(w[c], right[c]);
  TL_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FloatVec left[Part::kParts];
    Part::load(x[r], left);
    TL_UNROLL
    for (int p = 0; p < Part::kParts; ++p) {
      TL_UNROLL
      for (int c = 0; c < kColumns; ++c) add_product(left[p], right[c][p], sums[r][c]);
    }
  }
}

template <class Part, int kRows, int kColumns>
HWY_NOINLINE void tile(const typename Part::Element* x, int64_t x_row, const typename Part::Element* w, int64_t w_row,
                       int64_t depth, const char* ahead, int lines, float* c, int64_t c_row) {
  using Element = typename Part::Element;
  const FloatTag df;
  const int64_t step = static_cast<int64_t>(lanes()) * Part::kParts;
  FloatVec sums[kRows][kColumns];
  TL_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TL_UNROLL
    for (int n = 0; n < kColumns; ++n) sums[r][n] = hn::Zero(df);
  }
  const Element *left[kRows], *right[kColumns];
  int64_t k = 0;
  for (; k + step <= depth; k += step) {
    for (int i = 0; i < lines; ++i, ahead += 64) __builtin_prefetch(ahead, 0, 2);
    for (int r = 0; r < kRows; ++r) left[r] = x + r * x_row + k;
    for (int n = 0; n < kColumns; ++n) right[n] = w + n * w_row + k;
    multiply<Part, kRows, kColumns>(left, right, sums);
  }
  if (k < depth) {
    HWY_ALIGN Element rest[kRows + kColumns][Part::kParts * HWY_MAX_BYTES / sizeof(float)] = {};
    const size_t bytes = static_cast<size_t>(depth - k) * sizeof(Element);
    for (int r = 0; r < kRows; ++r) std::memcpy(rest[r], x + r * x_row + k, bytes), left[r] = rest[r];
    for (int n = 0; n < kColumns; ++n) {
      std::memcpy(rest[kRows + n], w + n * w_row + k, bytes);
      right[n] = rest[kRows + n];
    }
    multiply<Part, kRows, kColumns>(left, right, sums);
  }
  TL_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TL_UNROLL
    for (int n = 0; n < kColumns; ++n) c[r * c_row + n] = sum_of_lanes(sums[r][n]);
  }
}

template <class Part, int kColumns>
HWY_INLINE void tile_rows(int64_t rows, const typename Part::Element* x, int64_t x_row, const typename Part::Element* w,
                          int64_t w_row, int64_t depth, const char* ahead, int lines, float* c, int64_t c_row) {
  switch (rows) {
    case 1:
      return tile<Part, 1, kColumns>(x, x_row, w, w_row, depth, ahead, lines, c, c_row);
    case 2:
      return tile<Part, 2, kColumns>(x, x_row, w, w_row, depth, ahead, lines, c, c_row);
    case 3:
      return tile<Part, 3, kColumns>(x, x_row, w, w_row, depth, ahead, lines, c, c_row);
    default:
      return tile<Part, kTile, kColumns>(x, x_row, w, w_row, depth, ahead, lines, c, c_row);
  }
}

// Whole tiles of columns; returns how many columns they are.
template <class Part, int kColumns>
HWY_INLINE int64_t column_tiles(const typename Part::Element* x, int64_t x_row, int64_t rows,
                                const typename Part::Element* w, int64_t w_row, int64_t columns, int64_t depth,
                                float* c, int64_t c_row) {
  const int64_t step = static_cast<int64_t>(lanes()) * Part::kParts;
  // One vector of each row of W a step, in cache lines.
  const int lines = w_row != depth || depth < step ? 0 : kColumns * static_cast<int>(sizeof(FloatVec)) / 64;
  int64_t n = 0;
  for (; n + kColumns <= columns; n += kColumns) {
    const char* ahead = reinterpret_cast<const char*>(w + n * w_row) + kAheadBytes;
    for (int64_t r = 0; r < rows; r += kTile) {
      tile_rows<Part, kColumns>(std::min<int64_t>(kTile, rows - r), x + r * x_row, x_row, w + n * w_row, w_row, depth,
                                ahead, r == 0 ? lines : 0, c + r * c_row + n, c_row);
    }
  }
  return n;
}

template <class Part>
HWY_INLINE void gemm(const typename Part::Element* x, int64_t x_row, int64_t rows, const typename Part::Element* w,
                     int64_t w_row, int64_t columns, int64_t depth, float* c, int64_t c_row) {
  // Columns at a time: as many as registers hold beside the rows; few rows need them only to keep sums from waiting for
  // each other, and read W in order where they can.
  constexpr int kMany = kManyRegisters ? 4 : 2, kFew = kManyRegisters ? 1 : 4;
  int64_t n = 0;
  if (rows >= kTile || (!kManyRegisters && rows > 1)) {
    n = column_tiles<Part, kMany>(x, x_row, rows, w, w_row, columns, depth, c, c_row);
  } else if (kFew > 1) {
    n = column_tiles<Part, kFew>(x, x_row, rows, w, w_row, columns, depth, c, c_row);
  }
  for (; n < columns; ++n) {
    for (int64_t r = 0; r < rows; r += kTile) {
      tile_rows<Part, 1>(std::min<int64_t>(kTile, rows - r), x + r * x_row, x_row, w + n * w_row, w_row, depth, nullptr,
                         0, c + r * c_row + n, c_row);
    }
  }
}

void DotGemmF32(const float* x, int64_t x_row, int64_t rows, const float* w, int64_t w_row, int64_t columns,
                int64_t depth, float* c, int64_t c_row) {
  gemm<FloatPart>(x, x_row, rows, w, w_row, columns, depth, c, c_row);
}
void DotGemmBF16(const uint16_t* x, int64_t x_row, int64_t rows, const uint16_t* w, int64_t w_row, int64_t columns,
                 int64_t depth, float* c, int64_t c_row) {
  gemm<Bf16Part>(x, x_row, rows, w, w_row, columns, depth, c, c_row);
}

}  // namespace throughline::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace throughline::ops {
HWY_EXPORT(DotGemmF32);
HWY_EXPORT(DotGemmBF16);

namespace kernels {

void dot_gemm(const float* x, int64_t x_row, int64_t rows, const float* w, int64_t w_row, int64_t columns,
              int64_t depth, float* c, int64_t c_row) {
  HWY_DYNAMIC_DISPATCH(DotGemmF32)(x, x_row, rows, w, w_row, columns, depth, c, c_row);
}
void dot_gemm(const uint16_t* x, int64_t x_row, int64_t rows, const uint16_t* w, int64_t w_row, int64_t columns,
              int64_t depth, float* c, int64_t c_row) {
  static const DotGemmBf16 native = dot_gemm_avx512_bf16();
  if (native != nullptr) return native(x, x_row, rows, w, w_row, columns, depth, c, c_row);
  dot_gemm_portable(x, x_row, rows, w, w_row, columns, depth, c, c_row);
}
void dot_gemm_portable(const uint16_t* x, int64_t x_row, int64_t rows, const uint16_t* w, int64_t w_row,
                       int64_t columns, int64_t depth, float* c, int64_t c_row) {
  HWY_DYNAMIC_DISPATCH(DotGemmBF16)(x, x_row, rows, w, w_row, columns, depth, c, c_row);
}

}  // namespace kernels
}  // namespace throughline::ops
#endif  // HWY_ONCE

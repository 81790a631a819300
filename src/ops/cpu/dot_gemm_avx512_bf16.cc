// Intrinsics because Highway 1.0.3 has not the instruction.
#include "ops/cpu/dot_gemm.h"

#if defined(__x86_64__)
#include <cstring>

#include "ops/cpu/avx512-inl.h"
#include "ops/cpu/cpu_limit.h"
#include "ops/cpu/page_heads.h"

#define TL_TARGET TL_AVX512("avx512bf16")

namespace throughline::ops::kernels {
namespace {

constexpr int64_t kStep = 32;  // elements of a vector
constexpr int kTile = 4;       // rows of X and of W that a tile takes: 16 sums, 8 operands

// Bytes of W that are fetched ahead, into L2 (into L1 its few miss buffers are the limit): 16 KiB reads at 22 GB/s a
// core where 4 KiB read at 12 and none at 9 (bench/gemm_bench, 8 rows).
constexpr int64_t kAheadBytes = 16 << 10;

using avx512::sums_of_lanes;

TL_INLINE __m512bh load(const uint16_t* p) { return (__m512bh)_mm512_loadu_si512(p); }
TL_INLINE __m512bh load(const uint16_t* p, __mmask32 used) { return (__m512bh)_mm512_maskz_loadu_epi16(used, p); }

// sums[r * kColumns + c] of kRows rows of X and kColumns rows of W; kLines cache lines a step are fetched from `ahead`.
template <int kRows, int kColumns, int kLines>
TL_INLINE void dots(const uint16_t* x, int64_t x_row, const uint16_t* w, int64_t w_row, int64_t depth,
                    const char* ahead, __m512* sums) {
  for (int i = 0; i < kRows * kColumns; ++i) sums[i] = _mm512_setzero_ps();
  int64_t k = 0;
  for (; k + kStep <= depth; k += kStep) {
    for (int i = 0; i < kLines; ++i) _mm_prefetch(ahead + 64 * i, _MM_HINT_T1);
    ahead += 64 * kLines;
    __m512bh right[kColumns];
    for (int c = 0; c < kColumns; ++c) right[c] = load(w + c * w_row + k);
    for (int r = 0; r < kRows; ++r) {
      const __m512bh left = load(x + r * x_row + k);
      for (int c = 0; c < kColumns; ++c)
        sums[r * kColumns + c] = _mm512_dpbf16_ps(sums[r * kColumns + c], left, right[c]);
    }
  }
  if (k == depth) return;
  const __mmask32 used = (1U << (depth - k)) - 1;
  __m512bh right[kColumns];
  for (int c = 0; c < kColumns; ++c) right[c] = load(w + c * w_row + k, used);
  for (int r = 0; r < kRows; ++r) {
    const __m512bh left = load(x + r * x_row + k, used);
    for (int c = 0; c < kColumns; ++c)
      sums[r * kColumns + c] = _mm512_dpbf16_ps(sums[r * kColumns + c], left, right[c]);
  }
}

// kRows rows of X against `columns` rows of W, one after the other.
template <int kRows>
TL_TARGET void in_order(const uint16_t* x, int64_t x_row, const uint16_t* w, int64_t w_row, int64_t columns,
                        int64_t depth, float* c, int64_t c_row) {
  constexpr int64_t kGroup = 16;
  for (int64_t n = 0; n < columns; n += kGroup) {
    const int64_t count = columns - n < kGroup ? columns - n : kGroup;
    __m512 sums[kRows][kGroup];
    for (int64_t i = 0; i < count; ++i) {
      __m512 of_row[kRows];
      cpu::fetch_page_heads(w + (n + i) * w_row, 2 * depth);
      dots<kRows, 1, 0>(x, x_row, w + (n + i) * w_row, w_row, depth, nullptr, of_row);
      for (int r = 0; r < kRows; ++r) sums[r][i % 4 * 4 + i / 4] = of_row[r];
    }
    for (int64_t i = count; i < kGroup; ++i) {
      for (int r = 0; r < kRows; ++r) sums[r][i % 4 * 4 + i / 4] = _mm512_setzero_ps();
    }
    const auto used = static_cast<__mmask16>((1U << count) - 1);
    for (int r = 0; r < kRows; ++r) _mm512_mask_storeu_ps(c + r * c_row + n, used, sums_of_lanes(sums[r]));
  }
}

template <int kRows, int kColumns, int kLines>
TL_TARGET __attribute__((noinline)) void tile(const uint16_t* x, int64_t x_row, const uint16_t* w, int64_t w_row,
                                              int64_t depth, const char* ahead, float* c, int64_t c_row) {
  __m512 sums[kRows * kColumns], ordered[16];
  dots<kRows, kColumns, kLines>(x, x_row, w, w_row, depth, ahead, sums);
  for (int r = 0; r < 4; ++r) {
    for (int n = 0; n < 4; ++n)
      ordered[n * 4 + r] = r < kRows && n < kColumns ? sums[r * kColumns + n] : _mm512_setzero_ps();
  }
  alignas(64) float results[16];
  _mm512_store_ps(results, sums_of_lanes(ordered));
  for (int r = 0; r < kRows; ++r) std::memcpy(c + r * c_row, results + 4 * r, kColumns * sizeof(float));
}

template <int kRows, int kColumns>
TL_INLINE void tile_fetching(int lines, const uint16_t* x, int64_t x_row, const uint16_t* w, int64_t w_row,
                             int64_t depth, const char* ahead, float* c, int64_t c_row) {
  switch (lines) {
    case 4:
      return tile<kRows, kColumns, 4>(x, x_row, w, w_row, depth, ahead, c, c_row);
    case 2:
      return tile<kRows, kColumns, 2>(x, x_row, w, w_row, depth, ahead, c, c_row);
    case 1:
      return tile<kRows, kColumns, 1>(x, x_row, w, w_row, depth, ahead, c, c_row);
    default:
      return tile<kRows, kColumns, 0>(x, x_row, w, w_row, depth, ahead, c, c_row);
  }
}

template <int kColumns>
TL_TARGET void tile_rows(int64_t rows, int lines, const uint16_t* x, int64_t x_row, const uint16_t* w, int64_t w_row,
                         int64_t depth, const char* ahead, float* c, int64_t c_row) {
  switch (rows) {
    case 1:
      return tile_fetching<1, kColumns>(lines, x, x_row, w, w_row, depth, ahead, c, c_row);
    case 2:
      return tile_fetching<2, kColumns>(lines, x, x_row, w, w_row, depth, ahead, c, c_row);
    case 3:
      return tile_fetching<3, kColumns>(lines, x, x_row, w, w_row, depth, ahead, c, c_row);
    default:
      return tile_fetching<4, kColumns>(lines, x, x_row, w, w_row, depth, ahead, c, c_row);
  }
}

// Four rows of W against all rows of X, a tile at a time; the first tiles fetch the rows of W that come.
TL_TARGET void by_tiles(const uint16_t* x, int64_t x_row, int64_t rows, const uint16_t* w, int64_t w_row,
                        int64_t columns, int64_t depth, float* c, int64_t c_row) {
  const int64_t tiles = (rows + kTile - 1) / kTile;
  const int fetching_tiles = tiles >= 4 ? 4 : tiles >= 2 ? 2 : 1, lines = kTile / fetching_tiles;
  const int64_t lines_of_tile = depth / kStep * lines;
  int64_t n = 0;
  for (; n + kTile <= columns; n += kTile) {
    const uint16_t* rows_of_w = w + n * w_row;
    // Rows of W that lie apart are fetched by nobody.
    const bool fetch = w_row == depth;
    const char* ahead = reinterpret_cast<const char*>(rows_of_w) + kAheadBytes;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t first = t * kTile, count = rows - first < kTile ? rows - first : kTile;
      tile_rows<kTile>(count, fetch && t < fetching_tiles ? lines : 0, x + first * x_row, x_row, rows_of_w, w_row,
                       depth, ahead + t * lines_of_tile * 64, c + first * c_row + n, c_row);
    }
  }
  for (; n < columns; ++n) {
    for (int64_t first = 0; first < rows; first += kTile) {
      const int64_t count = rows - first < kTile ? rows - first : kTile;
      tile_rows<1>(count, 0, x + first * x_row, x_row, w + n * w_row, w_row, depth, nullptr, c + first * c_row + n,
                   c_row);
    }
  }
}

TL_TARGET void gemm(const uint16_t* x, int64_t x_row, int64_t rows, const uint16_t* w, int64_t w_row, int64_t columns,
                    int64_t depth, float* c, int64_t c_row) {
  switch (rows) {
    case 0:
      return;
    case 1:
      return in_order<1>(x, x_row, w, w_row, columns, depth, c, c_row);
    case 2:
      return in_order<2>(x, x_row, w, w_row, columns, depth, c, c_row);
    case 3:
      return in_order<3>(x, x_row, w, w_row, columns, depth, c, c_row);
    default:
      return by_tiles(x, x_row, rows, w, w_row, columns, depth, c, c_row);
  }
}

}  // namespace

DotGemmBf16 dot_gemm_avx512_bf16() {
  static const bool supported = cpu::has_avx512_bf16();
  return supported ? gemm : nullptr;
}

}  // namespace throughline::ops::kernels

#else

namespace throughline::ops::kernels {
DotGemmBf16 dot_gemm_avx512_bf16() { return nullptr; }
}  // namespace throughline::ops::kernels

#endif

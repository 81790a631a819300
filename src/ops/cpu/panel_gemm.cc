#include "ops/cpu/panel_gemm.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/highway_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/panel_gemm.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "hwy/highway.h"
#include "ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::HWY_NAMESPACE {

// 6 x 4 vectors fill AVX-512's 32 registers (24 sums, 4 of B, 1 of A), 6 x 2 AVX2's 16.
constexpr int kTileRows = 6;
#if HWY_MAX_BYTES >= 64
constexpr int kTileVectors = 4;
#else
constexpr int kTileVectors = 2;
#endif
// Depth of a panel that is worked on at a time. Twice what an L1 cache holds of 256-byte rows: prefetching hides that,
// while each further block reads and writes all of C (bench/train_step_bench: 128 is 2-3 % slower, 512 no faster).
constexpr int64_t kDepthBlock = 256;

template <int kRows>
HWY_NOINLINE void tile(const float* HWY_RESTRICT a, int64_t a_row, int64_t a_k, const float* HWY_RESTRICT panel,
                       const float* addend, float* c, int64_t ldc, int64_t depth) {
  const FloatTag df;
  const auto step = static_cast<int64_t>(lanes());
  FloatVec sums[kRows][kTileVectors];
  TL_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TL_UNROLL
    for (int v = 0; v < kTileVectors; ++v)
      sums[r][v] = addend != nullptr ? hn::LoadU(df, addend + r * ldc + v * step) : hn::Zero(df);
  }
  for (int64_t k = 0; k < depth; ++k) {
    FloatVec b[kTileVectors];
    TL_UNROLL
    for (int v = 0; v < kTileVectors; ++v) b[v] = hn::LoadU(df, panel + v * step);
    TL_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const auto x = hn::Set(df, a[r * a_row]);
      TL_UNROLL
      for (int v = 0; v < kTileVectors; ++v) sums[r][v] = hn::MulAdd(x, b[v], sums[r][v]);
    }
    panel += kTileVectors * step;
    a += a_k;
  }
  TL_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TL_UNROLL
    for (int v = 0; v < kTileVectors; ++v) hn::StoreU(sums[r][v], df, c + r * ldc + v * step);
  }
}

HWY_INLINE void tile_of(int64_t rows, const float* a, int64_t a_row, int64_t a_k, const float* panel,
                        const float* addend, float* c, int64_t ldc, int64_t depth) {
  switch (rows) {
    case 1:
      return tile<1>(a, a_row, a_k, panel, addend, c, ldc, depth);
    case 2:
      return tile<2>(a, a_row, a_k, panel, addend, c, ldc, depth);
    case 3:
      return tile<3>(a, a_row, a_k, panel, addend, c, ldc, depth);
    case 4:
      return tile<4>(a, a_row, a_k, panel, addend, c, ldc, depth);
    case 5:
      return tile<5>(a, a_row, a_k, panel, addend, c, ldc, depth);
    default:
      return tile<kTileRows>(a, a_row, a_k, panel, addend, c, ldc, depth);
  }
}

// to[k * width + n] = from[n * row + k] for `rows` rows n and `depth` k, in squares of 4 x 4 that stay in L1.
HWY_INLINE void transpose(const float* HWY_RESTRICT from, int64_t row, int64_t rows, int64_t depth,
                          float* HWY_RESTRICT to, int64_t width) {
  constexpr int64_t kBlock = 16, kSquare = 4;
#if HWY_TARGET != HWY_SCALAR
  const hn::Full128<float> d;
#endif
  for (int64_t k0 = 0; k0 < depth; k0 += kBlock) {
    const int64_t k_end = HWY_MIN(depth, k0 + kBlock);
    int64_t n = 0;
    for (; n + kSquare <= rows; n += kSquare) {
      const float* p = from + n * row;
      int64_t k = k0;
#if HWY_TARGET != HWY_SCALAR
      for (; k + kSquare <= k_end; k += kSquare) {
        const auto r0 = hn::LoadU(d, p + k), r1 = hn::LoadU(d, p + row + k), r2 = hn::LoadU(d, p + 2 * row + k),
                   r3 = hn::LoadU(d, p + 3 * row + k);
        const auto low01 = hn::InterleaveLower(d, r0, r1), high01 = hn::InterleaveUpper(d, r0, r1);
        const auto low23 = hn::InterleaveLower(d, r2, r3), high23 = hn::InterleaveUpper(d, r2, r3);
        float* q = to + k * width + n;
        hn::StoreU(hn::ConcatLowerLower(d, low23, low01), d, q);
        hn::StoreU(hn::ConcatUpperUpper(d, low23, low01), d, q + width);
        hn::StoreU(hn::ConcatLowerLower(d, high23, high01), d, q + 2 * width);
        hn::StoreU(hn::ConcatUpperUpper(d, high23, high01), d, q + 3 * width);
      }
#endif
      for (; k < k_end; ++k) {
        for (int64_t i = 0; i < kSquare; ++i) to[k * width + n + i] = p[i * row + k];
      }
    }
    for (; n < rows; ++n) {
      for (int64_t k = k0; k < k_end; ++k) to[k * width + n] = from[n * row + k];
    }
  }
}

int64_t PanelColumns() { return kTileVectors * static_cast<int64_t>(lanes()); }
int64_t PanelRows() { return kTileRows; }

void Pack(const float* b, int64_t k_stride, int64_t n_stride, int64_t depth, int64_t columns, int64_t panel_begin,
          int64_t panel_end, float* packed) {
  const int64_t width = PanelColumns();
  for (int64_t p = panel_begin; p < panel_end; ++p) {
    const float* from = b + p * width * n_stride;
    float* to = packed + p * depth * width;
    const int64_t used = std::min(width, columns - p * width);
    if (used < width) std::memset(to, 0, static_cast<size_t>(depth * width) * sizeof(float));
    if (n_stride == 1) {
      for (int64_t k = 0; k < depth; ++k)
        std::memcpy(to + k * width, from + k * k_stride, static_cast<size_t>(used) * sizeof(float));
      continue;
    }
    transpose(from, n_stride, used, depth, to, width);
  }
}

void Gemm(const float* a, int64_t a_row, int64_t a_k, const float* packed, const float* addend, float* c, int64_t ldc,
          int64_t rows, int64_t columns, int64_t depth) {
  const int64_t width = PanelColumns();
  HWY_ALIGN float edge[kTileRows * kTileVectors * (HWY_MAX_BYTES / sizeof(float))];
  for (int64_t k = 0; k < depth; k += kDepthBlock) {
    const int64_t deep = std::min(kDepthBlock, depth - k);
    const float* start = k > 0 ? c : addend;
    for (int64_t n = 0; n < columns; n += width) {
      const float* panel = packed + n * depth + k * width;
      const int64_t used = std::min(width, columns - n);
      for (int64_t r = 0; r < rows; r += kTileRows) {
        const int64_t count = std::min<int64_t>(kTileRows, rows - r), at = r * ldc + n;
        const float* left = a + r * a_row + k * a_k;
        const float* from = start != nullptr ? start + at : nullptr;
        if (used == width) {
          tile_of(count, left, a_row, a_k, panel, from, c + at, ldc, deep);
          continue;
        }
        for (int64_t i = 0; from != nullptr && i < count; ++i)
          std::memcpy(edge + i * width, from + i * ldc, static_cast<size_t>(used) * sizeof(float));
        tile_of(count, left, a_row, a_k, panel, from != nullptr ? edge : nullptr, edge, width, deep);
        for (int64_t i = 0; i < count; ++i)
          std::memcpy(c + at + i * ldc, edge + i * width, static_cast<size_t>(used) * sizeof(float));
      }
    }
  }
}

}  // namespace throughline::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace throughline::ops {
HWY_EXPORT(PanelColumns);
HWY_EXPORT(PanelRows);
HWY_EXPORT(Pack);
HWY_EXPORT(Gemm);

namespace kernels {

int64_t panel_columns() { return HWY_DYNAMIC_DISPATCH(PanelColumns)(); }
int64_t panel_rows() { return HWY_DYNAMIC_DISPATCH(PanelRows)(); }
void pack_panels(const float* b, int64_t k_stride, int64_t n_stride, int64_t depth, int64_t columns,
                 int64_t panel_begin, int64_t panel_end, float* packed) {
  HWY_DYNAMIC_DISPATCH(Pack)(b, k_stride, n_stride, depth, columns, panel_begin, panel_end, packed);
}
void panel_gemm(const float* a, int64_t a_row, int64_t a_k, const float* packed, const float* addend, float* c,
                int64_t ldc, int64_t rows, int64_t columns, int64_t depth) {
  HWY_DYNAMIC_DISPATCH(Gemm)(a, a_row, a_k, packed, addend, c, ldc, rows, columns, depth);
}

}  // namespace kernels
}  // namespace throughline::ops
#endif  // HWY_ONCE

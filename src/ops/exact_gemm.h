// y = x W^T + bias with one fixed order over `in` for every element: the matrix product of --exact (DESIGN 4.4).
//
// x [rows, in], w [out, in], y [rows, out], all contiguous; bias [out] or null. fp32 (float) or bf16 (uint16_t bits),
// fp32 accumulation, one rounding at the end. Element (r, o) is the sum over lanes of W fused multiply-adds
// acc[l] += x[r][k + l] * w[o][k + l], k = 0, W, 2W, ... (W = the CPU's fp32 lanes, zeros past `in`), then Highway's
// SumOfLanes, then + bias. Tiles run over rows and columns only, so the bits do not depend on `rows`, on the tile an
// element falls in, or on how columns are split over threads. They may differ between kinds of CPU. No torch here.
#pragma once

#include <cstdint>

namespace throughline::ops::kernels {

// Columns [column_begin, column_end) of y. Thread-safe for disjoint column ranges.
void exact_gemm(const float* x, const float* w, const float* bias, float* y, int64_t rows, int64_t in, int64_t out,
                int64_t column_begin, int64_t column_end);
void exact_gemm(const uint16_t* x, const uint16_t* w, const uint16_t* bias, uint16_t* y, int64_t rows, int64_t in,
                int64_t out, int64_t column_begin, int64_t column_end);

}  // namespace throughline::ops::kernels

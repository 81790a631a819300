// fp32 matrix products of the training step: C = A B with B packed into panels, A read where it lies with any strides,
// so that x W^T, g W and g^T x all run on one register tile without transposing A. No torch here.
//
// Each element of C is one accumulator over k in ascending order (fused multiply-adds), so its bits depend neither on
// the tile it falls in, nor on the other rows, nor on how rows are split over threads. Measured on Zen 5 (bench/
// train_step_bench): 85-95 % of the multiply-add peak at the shapes of 1-4 M parameter models, where the BLAS that ATen
// calls reaches 65-85 %.
#pragma once

#include <cstdint>

namespace throughline::ops::kernels {

int64_t panel_columns();  // of one panel on this CPU
int64_t panel_rows();     // of one register tile: row ranges of threads are best multiples of it

// Panels [panel_begin, panel_end) of B [depth, columns], whose element (k, n) is b[k * k_stride + n * n_stride]; one of
// the strides is 1. Panel p holds columns p * panel_columns() .., zero-padded, and starts at packed + p * depth *
// panel_columns(). Thread-safe for disjoint ranges.
void pack_panels(const float* b, int64_t k_stride, int64_t n_stride, int64_t depth, int64_t columns,
                 int64_t panel_begin, int64_t panel_end, float* packed);

// C [rows, columns] = addend + A B; C and the addend have row stride ldc. The addend may be C, or null for 0. A's
// element (i, k) is a[i * a_row + k * a_k].
void panel_gemm(const float* a, int64_t a_row, int64_t a_k, const float* packed, const float* addend, float* c,
                int64_t ldc, int64_t rows, int64_t columns, int64_t depth);

}  // namespace throughline::ops::kernels

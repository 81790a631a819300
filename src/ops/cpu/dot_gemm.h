// C = X W^T by dot products along the depth, from weights as they lie in the file: no packing, so a memory-mapped
// checkpoint is read in place. The one matrix product of decode, prefill and --exact.
//
// X [rows, depth], W [columns, depth] with any row strides (in elements), C fp32 [rows, columns]. fp32 (float) or bf16
// (its bits), fp32 accumulation. Element (r, c) is one vector of partial sums over the depth in ascending order, whose
// lanes are then added in one fixed tree: its bits depend on x[r] and w[c] alone, not on rows, columns or how callers
// split them over threads. They may differ between kinds of CPU (the AVX-512 BF16 instruction is used where there is
// one; it treats subnormals as zero).
//
// What limits it (bench/gemm_bench): for few rows the memory. W is then read strictly in order, one of its rows at a
// time, or fetched in order ahead of the tile that works on four rows: four streams at once halve what one core gets.
#pragma once

#include <cstdint>

namespace throughline::ops::kernels {

void dot_gemm(const float* x, int64_t x_row, int64_t rows, const float* w, int64_t w_row, int64_t columns,
              int64_t depth, float* c, int64_t c_row);
void dot_gemm(const uint16_t* x, int64_t x_row, int64_t rows, const uint16_t* w, int64_t w_row, int64_t columns,
              int64_t depth, float* c, int64_t c_row);

// The same without the AVX-512 BF16 instruction: for tests.
void dot_gemm_portable(const uint16_t* x, int64_t x_row, int64_t rows, const uint16_t* w, int64_t w_row,
                       int64_t columns, int64_t depth, float* c, int64_t c_row);

// The AVX-512 BF16 version; null where the machine has not the instruction.
using DotGemmBf16 = void (*)(const uint16_t* x, int64_t x_row, int64_t rows, const uint16_t* w, int64_t w_row,
                             int64_t columns, int64_t depth, float* c, int64_t c_row);
DotGemmBf16 dot_gemm_avx512_bf16();

}  // namespace throughline::ops::kernels

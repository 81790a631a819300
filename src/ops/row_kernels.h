// The row kernels without torch: raw pointers, fp32 (float) or bf16 (its bits as uint16_t) in memory, fp32 arithmetic.
//
// Every function handles rows one at a time in an order that depends on the row's length only, so a row's bits do not
// depend on how many rows are given or how callers split them over threads. Pointers need no alignment beyond the
// element's. The best instruction set is picked at run time (Highway), so bits may differ between kinds of CPU.
#pragma once

#include <cstdint>

namespace throughline::ops::kernels {

// y[r] = x[r] / sqrt(mean(x[r]^2) + eps), rounded to T, times weight.
void rms_norm(const float* x, const float* weight, float* y, int64_t rows, int64_t n, double eps);
void rms_norm(const uint16_t* x, const uint16_t* weight, uint16_t* y, int64_t rows, int64_t n, double eps);

// y = silu(gate) rounded to T, times up; n elements.
void silu_mul(const float* gate, const float* up, float* y, int64_t n);
void silu_mul(const uint16_t* gate, const uint16_t* up, uint16_t* y, int64_t n);

// One row of `heads` heads, `head_stride` elements apart, rotated into y [heads, 2 * half] with cos and sin [half];
// `sign` -1 turns the other way.
void rope_row(const float* x, int64_t head_stride, const float* cos, const float* sin, float sign, float* y,
              int64_t heads, int64_t half);
void rope_row(const uint16_t* x, int64_t head_stride, const float* cos, const float* sin, float sign, uint16_t* y,
              int64_t heads, int64_t half);

// log(sum(exp(x))) of one row; -inf for a row of -inf, NaN if any element is NaN, +inf if any is +inf.
float logsumexp(const float* x, int64_t n);

}  // namespace throughline::ops::kernels

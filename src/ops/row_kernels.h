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

// Its slopes: with m = x / sqrt(mean(x^2) + eps), dx = add + (g w - m mean(g w m)) / sqrt(...) (add may be null: 0) and
// dw += g times m rounded to T. dx may be add.
void rms_norm_slope(const float* x, const float* weight, const float* g, const float* add, float* dx, float* dw,
                    int64_t rows, int64_t n, double eps);
void rms_norm_slope(const uint16_t* x, const uint16_t* weight, const uint16_t* g, const uint16_t* add, uint16_t* dx,
                    float* dw, int64_t rows, int64_t n, double eps);

// y = silu(gate) rounded to T, times up; n elements.
void silu_mul(const float* gate, const float* up, float* y, int64_t n);
void silu_mul(const uint16_t* gate, const uint16_t* up, uint16_t* y, int64_t n);

// Its slopes for an upstream g, and y again (null: not wanted). Outputs may be g, gate or up.
void silu_mul_slope(const float* gate, const float* up, const float* g, float* y, float* dgate, float* dup, int64_t n);
void silu_mul_slope(const uint16_t* gate, const uint16_t* up, const uint16_t* g, uint16_t* y, uint16_t* dgate,
                    uint16_t* dup, int64_t n);

// bf16 to fp32.
void to_float(const uint16_t* x, float* y, int64_t n);

// A row of products c to the layer's result: y = c + bias rounded to T, plus `add` (bias and add may be null).
void finish_product(const float* c, const float* bias, const float* add, float* y, int64_t n);
void finish_product(const float* c, const uint16_t* bias, const uint16_t* add, uint16_t* y, int64_t n);
// The same as fp32, after a round trip through the type of bias.
void finish_logits(const float* c, const float* bias, float* y, int64_t n);
void finish_logits(const float* c, const uint16_t* bias, float* y, int64_t n);

// One row of `heads` heads, `head_stride` elements apart, rotated into y [heads, 2 * half] with cos and sin [half];
// `sign` -1 turns the other way.
void rope_row(const float* x, int64_t head_stride, const float* cos, const float* sin, float sign, float* y,
              int64_t heads, int64_t half);
void rope_row(const uint16_t* x, int64_t head_stride, const float* cos, const float* sin, float sign, uint16_t* y,
              int64_t heads, int64_t half);

// log(sum(exp(x))) of one row; -inf for a row of -inf, NaN if any element is NaN, +inf if any is +inf.
float logsumexp(const float* x, int64_t n);

// The largest of one row (n > 0); of NaN nothing is promised.
float largest(const float* x, int64_t n);
// weights[i] = exp((x[i] - peak) * inverse_temperature), at most 1 each; returns their sum.
float softmax_weights(const float* x, int64_t n, float peak, float inverse_temperature, float* weights);

// softmax(x * inverse_temperature) of one row: what log-probs and entropy need of it. The sampler and the trainer both
// take their log-probs from here, so the two agree bit for bit. Not defined for rows with NaN or +inf.
struct ScaledSoftmax {
  float peak = 0;     // the largest x
  float log_sum = 0;  // log(sum(exp((x - peak) * inverse_temperature)))
  float entropy = 0;  // nats
  float inverse_temperature = 1;
  float logprob(float x) const { return (x - peak) * inverse_temperature - log_sum; }
};
ScaledSoftmax scaled_softmax(const float* x, int64_t n, float inverse_temperature);
// dx[i] = gradient * inverse_temperature * ((i == target) - softmax[i]): the slope of gradient * logprob(x[target]).
// dx may be x.
void logprob_slope(const float* x, float* dx, int64_t n, const ScaledSoftmax& softmax, int64_t target, float gradient);

}  // namespace throughline::ops::kernels

// Rotary position embedding, rotate-half form (GPT-NeoX/Llama/Qwen): pairs are (i, i + head_dim/2).
//
// A RopeFrequencies says how fast each pair turns; model/ makes it from the config (rope_theta, rope_scaling).
// Angles are position * inv_freq in fp32 as transformers computes them; cos and sin are scaled by attention_factor
// (yarn). Source: RoFormer (arXiv 2104.09864), section 3.4.2.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace throughline::ops {

struct RopeFrequencies {
  std::vector<float> inv_freq;  // [head_dim / 2]
  float attention_factor = 1;   // multiplies cos and sin
};

// cos and sin of one step's rows, shared by all layers.
struct RopeAngles {
  at::Tensor cos, sin;  // fp32 [rows, head_dim / 2]
};

RopeAngles rope_angles(const RopeFrequencies& frequencies, std::span<const int64_t> positions, at::Device device);

// x [rows, heads, head_dim] (fp32 or bf16; last dimension contiguous, rows and heads may be strided) -> the rotated
// copy, contiguous, same dtype; arithmetic in fp32 rounded once. Row-exact. Differentiable (backward turns the other
// way).
at::Tensor rope(const at::Tensor& x, const RopeAngles& angles);

// The same in place for fp32 rows [count, heads, head_dim] in memory, whose angles begin at row `first`. On the calling
// thread, no torch inside.
void rope_rows(const RopeAngles& angles, int64_t first, int64_t count, float* x, int64_t heads);

}  // namespace throughline::ops

#include "ops/rope.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "ops/autograd.h"
#include "ops/parallel.h"
#include "ops/row_kernels.h"

namespace throughline::ops {
namespace {

constexpr int64_t kElementsPerThread = 1 << 15;  // as in rows.cc
constexpr int64_t kAnglesPerThread = 1 << 9;     // a cos and a sin in double are about 20 ns

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, float sign) {
  check_element_type(x, "rope");
  TL_CHECK(x.device().is_cpu(), "rope runs on the CPU only");
  TL_CHECK(x.dim() == 3 && cos.dim() == 2 && cos.sizes() == sin.sizes(), "rope: wants x [rows, heads, head_dim]");
  TL_CHECK(cos.size(0) == x.size(0) && 2 * cos.size(1) == x.size(2), "rope: angles do not match x");
  const at::Tensor in = x.size(2) == 1 || x.stride(2) == 1 ? x : x.contiguous();
  const int64_t rows = in.size(0), heads = in.size(1), half = cos.size(1);
  const int64_t row_stride = in.stride(0), head_stride = in.stride(1), row_size = heads * 2 * half;
  at::Tensor y = at::empty({rows, heads, 2 * half}, in.options());
  const int64_t grain = std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, row_size));
  parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float *c = f32(cos) + r * half, *s = f32(sin) + r * half;
      if (in.scalar_type() == at::kFloat) {
        kernels::rope_row(f32(in) + r * row_stride, head_stride, c, s, sign, f32_out(y) + r * row_size, heads, half);
      } else {
        kernels::rope_row(bf16(in) + r * row_stride, head_stride, c, s, sign, bf16_out(y) + r * row_size, heads, half);
      }
    }
  });
  return y;
}

at::Tensor differentiable_rotate(const at::Tensor& x, const RopeAngles& angles) {
  const auto forward = [&](Tensors& saved) -> Tensors {
    saved = {angles.cos, angles.sin};
    return {rotate(x, angles.cos, angles.sin, 1.0F)};
  };
  // The transpose of a (scaled) rotation turns the other way.
  return differentiable({x}, forward,
                        [](const NodeSlopes& node) -> Tensors {
                          return {rotate(node.grads[0], node.saved[0], node.saved[1], -1.0F)};
                        })
      .front();
}

}  // namespace

RopeAngles rope_angles(const RopeFrequencies& frequencies, std::span<const int64_t> positions, at::Device device) {
  const auto half = static_cast<int64_t>(frequencies.inv_freq.size());
  const auto rows = static_cast<int64_t>(positions.size());
  RopeAngles angles{at::empty({rows, half}, at::kFloat), at::empty({rows, half}, at::kFloat)};
  float *cos = f32_out(angles.cos), *sin = f32_out(angles.sin);
  const int64_t grain = std::max<int64_t>(1, kAnglesPerThread / std::max<int64_t>(1, half));
  parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (r > begin && positions[r] == positions[r - 1]) {  // sequences that began together
        std::copy_n(cos + (r - 1) * half, half, cos + r * half);
        std::copy_n(sin + (r - 1) * half, half, sin + r * half);
        continue;
      }
      for (int64_t i = 0; i < half; ++i) {
        // The angle is rounded to fp32 as transformers does; its cosine is then taken exactly.
        const float angle = static_cast<float>(positions[r]) * frequencies.inv_freq[i];
        const double wide = angle;
        cos[r * half + i] = static_cast<float>(std::cos(wide)) * frequencies.attention_factor;
        sin[r * half + i] = static_cast<float>(std::sin(wide)) * frequencies.attention_factor;
      }
    }
  });
  if (!device.is_cpu()) return {angles.cos.to(device), angles.sin.to(device)};
  return angles;
}

void rope_rows(const RopeAngles& angles, int64_t first, int64_t count, float* x, int64_t heads) {
  const int64_t half = angles.cos.size(1), width = heads * 2 * half;
  const float *cos = f32(angles.cos) + first * half, *sin = f32(angles.sin) + first * half;
  for (int64_t r = 0; r < count; ++r)
    kernels::rope_row(x + r * width, 2 * half, cos + r * half, sin + r * half, 1.0F, x + r * width, heads, half);
}

at::Tensor rope(const at::Tensor& x, const RopeAngles& angles) {
  return needs_grad({&x}) ? differentiable_rotate(x, angles) : rotate(x, angles.cos, angles.sin, 1.0F);
}

}  // namespace throughline::ops

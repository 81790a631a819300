#include "ops/matmul.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>

#include "base/result.h"
#include "ops/autograd.h"
#include "ops/cpu/cpu_limit.h"
#include "ops/cpu/panel_gemm.h"
#include "ops/parallel.h"

namespace throughline::ops {
namespace {

// Rows of A worked on against all panels at a time: 96 rows of 704 floats are a quarter of an L2 cache.
constexpr int64_t kRowBlock = 96;
// Depth of one chunk of g^T x: what it reads of g and x stays in L2 while all of C is passed.
constexpr int64_t kDepthChunk = 128;
constexpr int64_t kWorkPerThread = 1 << 18;  // multiply-adds

bool own_kernel(const at::Tensor& a, const at::Tensor& b) {
  TL_CHECK(a.dim() == 2 && b.dim() == 2 && a.scalar_type() == b.scalar_type(), "matmul: shapes or dtypes do not match");
  return a.scalar_type() == at::kFloat && a.device().is_cpu();
}

// bf16 that the machine has no products of, which ATen would multiply one by one.
bool widened(const at::Tensor& a) {
  return a.scalar_type() == at::kBFloat16 && a.device().is_cpu() && !cpu::has_avx512_bf16();
}
at::Tensor wide(const at::Tensor& a) { return a.defined() ? a.to(at::kFloat) : a; }

struct PackedPanels {
  at::Tensor data;
  int64_t depth, columns;
};

// B [depth, columns] with element (k, n) at b[k * k_stride + n * n_stride].
PackedPanels pack(const float* b, int64_t k_stride, int64_t n_stride, int64_t depth, int64_t columns) {
  const int64_t width = kernels::panel_columns(), panels = (columns + width - 1) / width;
  PackedPanels out{at::empty({panels * depth * width}, at::kFloat), depth, columns};
  auto* to = f32_out(out.data);
  parallel_for(0, panels, std::max<int64_t>(1, (1 << 15) / (depth * width + 1)), [&](int64_t begin, int64_t end) {
    kernels::pack_panels(b, k_stride, n_stride, depth, columns, begin, end, to);
  });
  return out;
}

// addend (may be undefined) + a [rows, depth] B
at::Tensor multiply(const at::Tensor& a, const PackedPanels& b, const at::Tensor& addend) {
  at::Tensor c = at::empty({a.size(0), b.columns}, a.options());
  const int64_t rows = a.size(0), tile = kernels::panel_rows(), strips = (rows + tile - 1) / tile;
  const int64_t work = std::max<int64_t>(1, tile * b.depth * b.columns);
  const float *left = f32(a), *panels = f32(b.data), *start = addend.defined() ? f32(addend) : nullptr;
  float* out = f32_out(c);
  parallel_for(0, strips, std::max<int64_t>(1, kWorkPerThread / work), [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(rows, end * tile);
    for (int64_t r = begin * tile; r < last; r += kRowBlock) {
      const int64_t place = r * b.columns;
      kernels::panel_gemm(left + r * b.depth, b.depth, 1, panels, start != nullptr ? start + place : nullptr,
                          out + place, b.columns, std::min(kRowBlock, last - r), b.columns, b.depth);
    }
  });
  return c;
}

}  // namespace

at::Tensor matmul_nt(const at::Tensor& x, const at::Tensor& weight) { return matmul_nt(x, weight, at::Tensor()); }

at::Tensor matmul_nt(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& addend) {
  if (widened(x)) return matmul_nt(wide(x), wide(weight), wide(addend)).to(at::kBFloat16);
  if (!own_kernel(x, weight)) {
    const at::Tensor y = at::mm(x, weight.t());
    return addend.defined() ? y.add(addend) : y;
  }
  const at::Tensor a = x.contiguous(), w = weight.contiguous();
  const at::Tensor start = addend.defined() ? addend.contiguous() : addend;
  return multiply(a, pack(f32(w), 1, w.size(1), w.size(1), w.size(0)), start);
}

at::Tensor matmul_nn(const at::Tensor& g, const at::Tensor& weight) {
  if (widened(g)) return matmul_nn(wide(g), wide(weight)).to(at::kBFloat16);
  if (!own_kernel(g, weight)) return at::mm(g, weight);
  const at::Tensor a = g.contiguous(), w = weight.contiguous();
  return multiply(a, pack(f32(w), w.size(1), 1, w.size(0), w.size(1)), at::Tensor());
}

namespace {

// y (+)= g^T x
void multiply_tn(const at::Tensor& g, const at::Tensor& x, at::Tensor& y, bool accumulate) {
  const at::Tensor a = g.contiguous(), b = x.contiguous();
  const int64_t depth = a.size(0), rows = a.size(1), columns = b.size(1);
  const int64_t width = kernels::panel_columns(), tile = kernels::panel_rows();
  const int64_t padded = (columns + width - 1) / width * width, chunks = (depth + kDepthChunk - 1) / kDepthChunk;
  at::Tensor packed = at::empty({depth * padded}, a.options());
  const float *left = f32(a), *right = f32(b);
  float *panels = f32_out(packed), *out = f32_out(y);
  const auto deep = [&](int64_t chunk) { return std::min(kDepthChunk, depth - chunk * kDepthChunk); };
  parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const int64_t k = c * kDepthChunk;
      kernels::pack_panels(right + k * columns, columns, 1, deep(c), columns, 0, padded / width, panels + k * padded);
    }
  });
  // Threads share out C's rows, so each element is one sum over all of the depth, in order.
  const int64_t strips = (rows + tile - 1) / tile;
  const int64_t grain = std::max<int64_t>(1, kWorkPerThread / std::max<int64_t>(1, tile * depth * columns));
  parallel_for(0, strips, grain, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * tile, count = std::min(rows, end * tile) - first;
    for (int64_t c = 0; c < chunks; ++c) {
      const int64_t k = c * kDepthChunk;
      float* place = out + first * columns;
      kernels::panel_gemm(left + k * rows + first, 1, rows, panels + k * padded, accumulate || c > 0 ? place : nullptr,
                          place, columns, count, columns, deep(c));
    }
  });
}

}  // namespace

at::Tensor matmul_tn(const at::Tensor& g, const at::Tensor& x) {
  if (widened(g)) return matmul_tn(wide(g), wide(x)).to(at::kBFloat16);
  if (!own_kernel(g, x)) return at::mm(g.t(), x);
  at::Tensor y = at::empty({g.size(1), x.size(1)}, g.options());
  if (g.size(0) == 0) return y.zero_();
  multiply_tn(g, x, y, /*accumulate=*/false);
  return y;
}

void add_matmul_tn(at::Tensor& y, const at::Tensor& g, const at::Tensor& x) {
  TL_CHECK(y.is_contiguous() && y.scalar_type() == at::kFloat, "add_matmul_tn: y must be contiguous fp32");
  if (widened(g)) return add_matmul_tn(y, wide(g), wide(x));
  if (!own_kernel(g, x)) {
    y.add_(at::mm(g.t(), x));
  } else {
    multiply_tn(g, x, y, /*accumulate=*/true);
  }
}

}  // namespace throughline::ops

// The training step's matrix products: against double precision for any shape, and with bits that hang on neither the
// other rows nor the thread count; the joined SwiGLU and its slopes against the separate one.
#include "ops/matmul.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "ops/rows.h"

namespace throughline::ops {
namespace {

double worst(const at::Tensor& got, const at::Tensor& want) {
  return got.to(at::kDouble).sub(want).abs().max().item<double>() / (1e-30 + want.abs().max().item<double>());
}

// Of a product of noise: against the size that its sums have before they cancel.
double worst_of_sums(const at::Tensor& got, const at::Tensor& want, int64_t depth) {
  const double size = want.abs().max().item<double>() + 4 * std::sqrt(static_cast<double>(depth));
  return got.to(at::kDouble).sub(want).abs().max().item<double>() / size;
}

RC_GTEST_PROP(Matmul, EqualsDoublePrecisionForAnyShape, ()) {
  const auto n = *rc::gen::inRange<int64_t>(1, 200), in = *rc::gen::inRange<int64_t>(1, 600),
             out = *rc::gen::inRange<int64_t>(1, 140);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const double unit = type == at::kFloat ? 3e-6 : 1e-2;
    const at::Tensor x = at::randn({n, in}).to(type), w = at::randn({out, in}).to(type),
                     g = at::randn({n, out}).to(type);
    const at::Tensor xd = x.to(at::kDouble), wd = w.to(at::kDouble), gd = g.to(at::kDouble);
    RC_ASSERT(worst_of_sums(matmul_nt(x, w), at::mm(xd, wd.t()), in) < unit);
    RC_ASSERT(worst_of_sums(matmul_nn(g, w), at::mm(gd, wd), out) < unit);
    RC_ASSERT(worst_of_sums(matmul_tn(g, x), at::mm(gd.t(), xd), n) < unit);
    RC_ASSERT(worst_of_sums(matmul_nt(x, w, g), gd.add(at::mm(xd, wd.t())), in) < unit);
    at::Tensor sum = at::randn({out, in});
    const at::Tensor want = sum.to(at::kDouble).add(at::mm(gd.t(), xd));
    add_matmul_tn(sum, g, x);
    RC_ASSERT(worst_of_sums(sum, want, n) < unit);
  }
}

TEST(Matmul, BitsHangOnNeitherRowsNorThreads) {
  const at::Tensor x = at::randn({517, 650}), w = at::randn({203, 650}), g = at::randn({517, 203});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor nt = matmul_nt(x, w), nn = matmul_nn(g, w), tn = matmul_tn(g, x);
  at::set_num_threads(3);
  EXPECT_TRUE(at::equal(nt, matmul_nt(x, w)));
  EXPECT_TRUE(at::equal(nn, matmul_nn(g, w)));
  EXPECT_TRUE(at::equal(tn, matmul_tn(g, x)));
  EXPECT_TRUE(at::equal(nt, at::cat({matmul_nt(x.narrow(0, 0, 7), w), matmul_nt(x.narrow(0, 7, 510), w)})));
  at::set_num_threads(threads);
}

TEST(SiluMulJoined, EqualsTheSeparateOneAndItsGradients) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const int64_t n = 37;
    const at::Tensor joined = at::randn({70, 2 * n}).mul(3).to(type);
    const at::Tensor gate = joined.narrow(1, 0, n).contiguous().requires_grad_(true);
    const at::Tensor up = joined.narrow(1, n, n).contiguous().requires_grad_(true);
    const at::Tensor y = silu_mul(gate, up), upstream = at::randn({70, n}).to(type);
    torch::autograd::backward({y}, {upstream});
    EXPECT_TRUE(at::equal(silu_mul_joined(joined), y));
    at::Tensor slopes = joined.clone(), g = upstream.clone();
    silu_mul_joined_slope(slopes, g);
    EXPECT_TRUE(at::equal(slopes, at::cat({gate.grad(), up.grad()}, 1)));
    EXPECT_LT(worst(g, y.detach().to(at::kDouble)), type == at::kFloat ? 1e-6 : 1e-2);
  }
}

TEST(RmsNormSlope, StridedRowsAndAnAddendEqualThePlainGradient) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const int64_t rows = 130, heads = 3, n = 20;
    const at::Tensor wide = at::randn({rows, 100}).to(type),
                     weight = at::rand({n}).add(0.5).to(type).requires_grad_(true);
    const at::Tensor x = wide.narrow(1, 7, heads * n).view({rows, heads, n}),
                     upstream = at::randn({rows, heads, n}).to(type);
    const at::Tensor leaf = x.contiguous().requires_grad_(true);
    torch::autograd::backward({rms_norm(leaf, weight, 1e-6)}, {upstream});
    at::Tensor dx = at::randn({rows, 90}).to(type).narrow(1, 5, heads * n).view({rows, heads, n}), dweight;
    rms_norm_slope(x, weight.detach(), upstream, 1e-6, at::Tensor(), dx, &dweight);
    EXPECT_TRUE(at::equal(dx, leaf.grad()));
    EXPECT_LT(worst(dweight, weight.grad().to(at::kDouble)), type == at::kFloat ? 1e-5 : 1e-2);
    const at::Tensor add = at::randn({rows, heads, n}).to(type);
    rms_norm_slope(x, weight.detach(), upstream, 1e-6, add, dx, nullptr);
    EXPECT_LT(worst(dx, leaf.grad().to(at::kDouble).add(add.to(at::kDouble))), type == at::kFloat ? 1e-6 : 1e-2);
  }
}

}  // namespace
}  // namespace throughline::ops

// Row kernels and the exact matrix product: against their references, bit-equal for any row count and thread count,
// and with the gradients that ATen's own operators give.
#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <limits>

#include "ops/linear.h"
#include "ops/reference.h"
#include "ops/rope.h"
#include "ops/rows.h"

namespace throughline::ops {
namespace {

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16};

at::Tensor noise(at::IntArrayRef shape, at::ScalarType type, double scale = 1) {
  return at::randn(shape, at::kFloat).mul(scale).to(type);
}

double max_error(const at::Tensor& got, const at::Tensor& want) {
  return got.to(at::kDouble).sub(want.to(at::kDouble)).abs().max().item<double>();
}

// One unit in the last place of the largest value, times `ulps`.
double tolerance(const at::Tensor& want, double ulps) {
  const double unit = want.scalar_type() == at::kBFloat16 ? 0x1p-8 : 0x1p-23;
  return ulps * unit * (want.to(at::kDouble).abs().max().item<double>() + 1e-30);
}

void set_threads(int n) { at::set_num_threads(n); }

RopeAngles angles_for(int64_t rows, int64_t half) {
  RopeFrequencies f;
  for (int64_t i = 0; i < half; ++i) f.inv_freq.push_back(std::pow(10000.0F, -static_cast<float>(i) / half));
  std::vector<int64_t> positions;
  for (int64_t r = 0; r < rows; ++r) positions.push_back(r * r * 31 + 5);
  return rope_angles(f, positions, at::kCPU);
}

RC_GTEST_PROP(Linear, ExactEqualsReferenceForAnyShape, ()) {
  const auto rows = *rc::gen::inRange<int64_t>(1, 9), in = *rc::gen::inRange<int64_t>(1, 70),
             out = *rc::gen::inRange<int64_t>(1, 20);
  for (const auto type : kTypes) {
    const at::Tensor x = noise({rows, in}, type), w = noise({out, in}, type), b = noise({out}, type);
    const at::Tensor want = linear_reference(x, w, b);
    RC_ASSERT(max_error(linear(x, w, b, NumericMode::kExact), want) <=
              tolerance(want, type == at::kFloat ? 32 : 1.01) + 1e-5);
  }
}

TEST(Linear, BothModesTakeNoBiasAndStridedRows) {
  for (const auto type : kTypes) {
    const at::Tensor x = noise({5, 64}, type).narrow(1, 8, 40), w = noise({12, 40}, type);
    const at::Tensor want = linear_reference(x, w, {});
    for (const auto mode : {NumericMode::kFast, NumericMode::kExact})
      EXPECT_LE(max_error(linear(x, w, {}, mode), want), tolerance(want, type == at::kFloat ? 32 : 2));
  }
}

// f of the first row of x alone, and of x with 2, 3, 8, 17, 64 rows, with one and two threads.
void expect_row_exact(const std::function<at::Tensor(const at::Tensor& rows)>& f, const at::Tensor& x) {
  set_threads(1);
  const at::Tensor alone = f(x.narrow(0, 0, 1).clone());
  const at::Tensor all = f(x);
  for (const int threads : {1, 2, 3}) {
    set_threads(threads);
    for (const int64_t rows : {1, 2, 3, 8, 17, 64}) {
      const at::Tensor y = f(x.narrow(0, 0, rows).clone());
      EXPECT_TRUE(at::equal(y.narrow(0, 0, 1), alone)) << rows << " rows, " << threads << " threads";
      EXPECT_TRUE(at::equal(y, all.narrow(0, 0, rows))) << rows << " rows, " << threads << " threads";
    }
  }
  set_threads(2);
}

TEST(RowExactness, LinearExact) {
  for (const auto type : kTypes) {
    for (const int64_t in : {64, 129, 1031}) {
      const at::Tensor w = noise({333, in}, type), b = noise({333}, type);
      expect_row_exact([&](const at::Tensor& x) { return linear(x, w, b, NumericMode::kExact); },
                       noise({64, in}, type));
    }
  }
}

TEST(RowExactness, RmsNorm) {
  for (const auto type : kTypes) {
    for (const int64_t n : {6, 128, 1031}) {
      const at::Tensor w = noise({n}, type);
      expect_row_exact([&](const at::Tensor& x) { return rms_norm(x, w, 1e-6); }, noise({64, n}, type));
    }
  }
}

TEST(RowExactness, SiluMul) {
  for (const auto type : kTypes) {
    for (const int64_t n : {5, 96, 3077}) {
      expect_row_exact([&](const at::Tensor& x) { return silu_mul(x, x.flip(1)); }, noise({64, n}, type, 8));
    }
  }
}

TEST(RowExactness, Rope) {
  for (const auto type : kTypes) {
    for (const int64_t dim : {2, 6, 128}) {
      const RopeAngles all = angles_for(64, dim / 2);
      expect_row_exact(
          [&](const at::Tensor& x) {
            const int64_t rows = x.size(0);
            return rope(x, {all.cos.narrow(0, 0, rows).contiguous(), all.sin.narrow(0, 0, rows).contiguous()});
          },
          noise({64, 12, dim}, type));
    }
  }
}

TEST(RowExactness, LogSumExp) {
  for (const int64_t n : {1, 19, 5003})
    expect_row_exact([](const at::Tensor& x) { return row_logsumexp(x); }, noise({64, n}, at::kFloat, 5));
}

TEST(RowExactness, ElementsDoNotDependOnTheirPlaceInTheVector) {
  // The same values at every offset: a tail computed otherwise than the body would show here.
  const at::Tensor x = noise({41}, at::kFloat, 6);
  const at::Tensor whole = silu_mul(x, x);
  for (int64_t from = 0; from < 40; ++from) {
    const at::Tensor part = x.narrow(0, from, 41 - from).clone();
    EXPECT_TRUE(at::equal(silu_mul(part, part), whole.narrow(0, from, 41 - from))) << from;
  }
}

TEST(RmsNorm, EqualsReference) {
  for (const auto type : kTypes) {
    for (const int64_t n : {1, 2, 10, 16, 64, 1000}) {
      const at::Tensor x = noise({7, n}, type, 3), w = noise({n}, type);
      const at::Tensor want = rms_norm_reference(x, w, 1e-5);
      EXPECT_LE(max_error(rms_norm(x, w, 1e-5), want), tolerance(want, type == at::kFloat ? 8 : 2)) << n;
    }
  }
  const at::Tensor heads = noise({3, 4, 8}, at::kFloat), w = noise({8}, at::kFloat);
  EXPECT_LE(max_error(rms_norm(heads, w, 1e-6), rms_norm_reference(heads, w, 1e-6)), 1e-6);
}

TEST(SiluMul, EqualsReferenceAlsoFarOut) {
  for (const auto type : kTypes) {
    const at::Tensor gate = at::arange(-400, 400, at::kFloat).mul(0.37).to(type), up = noise({800}, type);
    const at::Tensor want = silu_mul_reference(gate, up);
    EXPECT_LE(max_error(silu_mul(gate, up), want), tolerance(want, type == at::kFloat ? 4 : 1.01));
  }
  const float inf = std::numeric_limits<float>::infinity();
  const at::Tensor odd = at::tensor({inf, std::nanf(""), -1e30F}), one = at::full({3}, 1.0F);
  const at::Tensor y = silu_mul(odd, one);
  EXPECT_EQ(y[0].item<float>(), inf);
  EXPECT_TRUE(std::isnan(y[1].item<float>()));
  EXPECT_NEAR(y[2].item<float>(), 0, 1e-6);
}

TEST(Rope, EqualsReferenceOnStridedInput) {
  for (const auto type : kTypes) {
    for (const int64_t dim : {2, 6, 10, 64, 128}) {
      // q as a slice of a fused projection: rows and heads strided.
      const at::Tensor x = noise({9, 8, dim}, type).narrow(1, 2, 5);
      const RopeAngles angles = angles_for(9, dim / 2);
      const at::Tensor want = rope_reference(x, angles);
      const at::Tensor got = rope(x, angles);
      EXPECT_TRUE(got.is_contiguous());
      EXPECT_LE(max_error(got, want), tolerance(want, type == at::kFloat ? 4 : 1.01)) << dim;
    }
  }
}

TEST(Rope, AnglesAreScaledAndTurnByPosition) {
  const RopeAngles a = rope_angles({{1.0F, 0.5F}, 1.25F}, std::vector<int64_t>{0, 3}, at::kCPU);
  EXPECT_FLOAT_EQ(a.cos[0][1].item<float>(), 1.25F);
  EXPECT_FLOAT_EQ(a.cos[1][0].item<float>(), 1.25F * std::cos(3.0F));
  EXPECT_FLOAT_EQ(a.sin[1][1].item<float>(), 1.25F * std::sin(1.5F));
}

TEST(LogSumExp, EqualsReferenceAndKeepsSpecialValues) {
  for (const int64_t n : {1, 7, 16, 33, 1000}) {
    const at::Tensor x = noise({4, n}, at::kFloat, 20);
    EXPECT_LE(max_error(row_logsumexp(x), row_logsumexp_reference(x)), 1e-5) << n;
  }
  const float inf = std::numeric_limits<float>::infinity();
  const at::Tensor x = at::tensor({-inf, -inf, -inf, 2.0F, inf, 0.0F, std::nanf(""), 1.0F}).view({4, 2});
  const at::Tensor y = row_logsumexp(x);
  EXPECT_EQ(y[0].item<float>(), -inf);
  EXPECT_FLOAT_EQ(y[1].item<float>(), 2.0F);
  EXPECT_EQ(y[2].item<float>(), inf);
  EXPECT_TRUE(std::isnan(y[3].item<float>()));
}

TEST(BFloat16, StoresRoundToNearestEvenAndKeepNan) {
  // rms_norm with eps 0 of a single element is +-1 times the weight: the product is exactly the weight.
  const at::Tensor gate = at::tensor({1e30F}).to(at::kBFloat16);
  EXPECT_EQ(silu_mul(gate, at::tensor({1.0F}).to(at::kBFloat16)).item<float>(), gate.item<float>());
  // 1 + 2^-8 is halfway between two bf16 numbers and goes to the even one, 1; 1 + 3 * 2^-8 goes up to 1 + 2^-6.
  const at::Tensor x = at::tensor({1.0F, 0x1p-8F, 1.0F, 0x1.8p-7F}).view({2, 2}).to(at::kBFloat16);
  const at::Tensor w = at::tensor({1.0F, 1.0F}).view({1, 2}).to(at::kBFloat16);
  const at::Tensor y = linear(x, w, {}, NumericMode::kExact);
  EXPECT_EQ(y[0].item<float>(), 1.0F);
  EXPECT_EQ(y[1].item<float>(), 1.0F + 0x1p-6F);
  const at::Tensor nan = at::full({1}, std::nanf("")).to(at::kBFloat16);
  EXPECT_TRUE(std::isnan(silu_mul(nan, nan).item<float>()));
}

// Gradients of sum(f * g) for a fixed random g, against those of `same`, ATen's way to write f.
using Op = std::function<at::Tensor(const std::vector<at::Tensor>&)>;
void expect_same_gradients(const Op& f, const Op& same, const std::vector<at::Tensor>& inputs, double bound) {
  const auto gradients = [&](const Op& op) {
    std::vector<at::Tensor> leaves;
    for (const at::Tensor& t : inputs) leaves.push_back(t.detach().clone().set_requires_grad(true));
    const at::Tensor y = op(leaves);
    at::manual_seed(5);
    const at::Tensor g = at::randn(y.sizes(), at::kFloat).to(y.scalar_type());
    return torch::autograd::grad({y}, leaves, {g});
  };
  const auto got = gradients(f), want = gradients(same);
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].scalar_type(), inputs[i].scalar_type());
    EXPECT_LE(max_error(got[i], want[i]), bound * (1 + want[i].abs().max().item<double>())) << "input " << i;
  }
}

TEST(Gradients, EqualThoseOfAtensOperators) {
  expect_same_gradients([](const auto& t) { return linear(t[0], t[1], t[2], NumericMode::kExact); },
                        [](const auto& t) { return at::linear(t[0], t[1], t[2]); },
                        {noise({5, 12}, at::kFloat), noise({7, 12}, at::kFloat), noise({7}, at::kFloat)}, 1e-5);
  expect_same_gradients([](const auto& t) { return linear(t[0], t[1], {}, NumericMode::kExact); },
                        [](const auto& t) { return at::linear(t[0], t[1]); },
                        {noise({5, 12}, at::kFloat), noise({7, 12}, at::kFloat)}, 1e-5);
  const auto plain_norm = [](const auto& t) {
    const at::Tensor x = t[0].to(at::kFloat);
    const at::Tensor normed = x.mul(x.square().mean(-1, true).add(1e-5).rsqrt());
    return normed.to(t[0].scalar_type()).mul(t[1]);
  };
  for (const auto type : kTypes) {
    const double bound = type == at::kFloat ? 1e-5 : 0.03;
    expect_same_gradients([](const auto& t) { return rms_norm(t[0], t[1], 1e-5); }, plain_norm,
                          {noise({3, 4, 10}, type), noise({10}, type)}, bound);
    expect_same_gradients([](const auto& t) { return silu_mul(t[0], t[1]); },
                          [](const auto& t) { return at::silu(t[0]).mul(t[1]); },
                          {noise({5, 9}, type, 3), noise({5, 9}, type)}, bound);
  }
  const RopeAngles angles = angles_for(6, 4);
  const auto plain_rope = [&](const auto& t) {
    const at::Tensor a = t[0].narrow(2, 0, 4), b = t[0].narrow(2, 4, 4);
    const at::Tensor c = angles.cos.unsqueeze(1), s = angles.sin.unsqueeze(1);
    return at::cat({a.mul(c).sub(b.mul(s)), b.mul(c).add(a.mul(s))}, 2);
  };
  expect_same_gradients([&](const auto& t) { return rope(t[0], angles); }, plain_rope, {noise({6, 3, 8}, at::kFloat)},
                        1e-5);
  expect_same_gradients([](const auto& t) { return row_logsumexp(t[0]); },
                        [](const auto& t) { return at::logsumexp(t[0], 1); }, {noise({4, 21}, at::kFloat, 3)}, 1e-5);
}

TEST(Rope, RowsInMemory) {
  const RopeFrequencies frequencies{.inv_freq = {1, 0.1F, 0.01F, 0.001F}};
  const std::vector<int64_t> positions = {3, 1000, 0, 7, 12};
  const RopeAngles angles = rope_angles(frequencies, positions, at::kCPU);
  const at::Tensor x = at::randn({5, 3, 8});
  const at::Tensor expected = rope(x, angles).narrow(0, 1, 3);
  at::Tensor rows = x.narrow(0, 1, 3).clone();
  rope_rows(angles, 1, 3, rows.data_ptr<float>(), 3);
  EXPECT_TRUE(at::equal(rows, expected));
}

}  // namespace
}  // namespace throughline::ops

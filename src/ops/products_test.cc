// The products of inference: against double precision for any shape, with bits that hang on neither the other rows nor
// the threads nor the function; the quantized formats against the numbers they stand for.
#include "ops/products.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "ops/cpu/dot_gemm.h"
#include "ops/cpu/quantized_gemm.h"
#include "ops/linear.h"
#include "ops/reference.h"
#include "ops/rows.h"

namespace throughline::ops {
namespace {

// Of sums of noise: against the size that they have before they cancel.
double worst_of_sums(const at::Tensor& got, const at::Tensor& want, int64_t depth) {
  const at::Tensor w = want.to(at::kDouble);
  const double size = w.abs().max().item<double>() + 4 * std::sqrt(static_cast<double>(depth));
  return got.to(at::kDouble).sub(w).abs().max().item<double>() / size;
}

at::Tensor plain_reference(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  return linear_reference(x.to(at::kDouble).to(at::kFloat), w.to(at::kFloat), bias.to(at::kFloat));
}

RC_GTEST_PROP(Products, EqualDoublePrecisionForAnyShape, ()) {
  const auto n = *rc::gen::inRange<int64_t>(1, 40), in = *rc::gen::inRange<int64_t>(1, 140),
             out = *rc::gen::inRange<int64_t>(1, 140);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const double unit = type == at::kFloat ? 3e-6 : 1e-2;
    const at::Tensor x = at::randn({n, in}).to(type), w = at::randn({out, in}).to(type),
                     up = at::randn({out, in}).to(type), bias = at::randn({out}).to(type),
                     residual = at::randn({n, out}).to(type);
    const at::Tensor want = plain_reference(x, w, bias);
    const auto both = linears(x, {{w, bias}, {up, {}}});
    RC_ASSERT(worst_of_sums(both[0], want, in) < unit);
    RC_ASSERT(at::equal(linear_add(residual, x, {w, bias}), residual.add(both[0])));
    RC_ASSERT(at::equal(linear_silu_mul(x, {w, bias}, {up, {}}), silu_mul(both[0], both[1])));
    const at::Tensor sum = residual.clone(), product = at::empty_like(sum);
    linear_add(sum, x, {w, bias}, NumericMode::kExact, sum);
    linear_silu_mul(x, {w, bias}, {up, {}}, NumericMode::kExact, product);
    RC_ASSERT(at::equal(sum, residual.add(both[0])));
    RC_ASSERT(at::equal(product, silu_mul(both[0], both[1])));
    RC_ASSERT(at::equal(linear_to_float(x, {w, bias}), both[0].to(at::kFloat)));
    RC_ASSERT(at::equal(linear(x, w, bias, NumericMode::kExact), both[0]));
  }
}

// Fast mode multiplies many rows of bf16 in another order: the same numbers up to the last bit of bf16, the same bits
// for any threads and neighbours, and for all of the functions.
RC_GTEST_PROP(Products, ManyRowsInFastMode, ()) {
  const auto n = *rc::gen::inRange<int64_t>(kManyRows, 150), in = 2 * *rc::gen::inRange<int64_t>(1, 300),
             out = *rc::gen::inRange<int64_t>(1, 140);
  const at::Tensor x = at::randn({n, in}).to(at::kBFloat16), w = at::randn({out, in}).to(at::kBFloat16),
                   up = at::randn({out, in}).to(at::kBFloat16), bias = at::randn({out}).to(at::kBFloat16),
                   residual = at::randn({n, out}).to(at::kBFloat16);
  constexpr auto kFast = NumericMode::kFast;
  const auto both = linears(x, {{w, bias}, {up, {}}}, kFast);
  RC_ASSERT(worst_of_sums(both[0], plain_reference(x, w, bias), in) < 1e-2);
  RC_ASSERT(at::equal(linear_add(residual, x, {w, bias}, kFast), residual.add(both[0])));
  RC_ASSERT(at::equal(linear_silu_mul(x, {w, bias}, {up, {}}, kFast), silu_mul(both[0], both[1])));
  RC_ASSERT(at::equal(linear_to_float(x, {w, bias}, kFast), both[0].to(at::kFloat)));
  const int threads = at::get_num_threads();
  at::set_num_threads(3);
  const at::Tensor part = linears(x.narrow(0, n - kManyRows, kManyRows), {{w, bias}}, kFast).front();
  at::set_num_threads(threads);
  RC_ASSERT(at::equal(part, both[0].narrow(0, n - kManyRows, kManyRows)));
}

TEST(Products, BitsHangOnNeitherRowsNorThreads) {
  for (const auto format : {WeightFormat::kPlain, WeightFormat::kInt8, WeightFormat::kInt4}) {
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const at::Tensor x = at::randn({70, 3003}).to(type), w = at::randn({203, 3003}).to(type);
      const LinearWeight weight = format == WeightFormat::kPlain
                                      ? LinearWeight(w, {})
                                      : LinearWeight(quantize_weight(w, format), {}, format, 203, 3003);
      const int threads = at::get_num_threads();
      at::set_num_threads(1);
      const at::Tensor all = linears(x, {weight}).front();
      at::set_num_threads(3);
      EXPECT_TRUE(at::equal(all, linears(x, {weight}).front()));
      std::vector<at::Tensor> parts;
      for (const auto& [from, rows] : std::vector<std::pair<int64_t, int64_t>>{
               {0, 1}, {1, 2}, {3, 3}, {6, 4}, {10, 5}, {15, 8}, {23, 17}, {40, 30}})
        parts.push_back(linears(x.narrow(0, from, rows), {weight}).front());
      EXPECT_TRUE(at::equal(all, at::cat(parts)));
      at::set_num_threads(threads);
    }
  }
}

// x as quantize_rows() leaves it: the products must be exact sums over these numbers.
at::Tensor through_int8(const at::Tensor& x) {
  const int64_t rows = x.size(0), in = x.size(1), groups = (in + kernels::kQuantGroup - 1) / kernels::kQuantGroup;
  std::vector<int8_t> values(rows * groups * kernels::kQuantGroup);
  std::vector<float> scales(rows * groups);
  std::vector<int32_t> offsets(rows * groups);
  const at::Tensor wide = x.to(at::kFloat).contiguous();
  kernels::quantize_rows(wide.const_data_ptr<float>(), in, in, -8,
                         {values.data(), scales.data(), offsets.data(), rows, groups});
  at::Tensor out = at::zeros({rows, in});
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      int32_t sum = 0;
      for (int64_t k = 0; k < kernels::kQuantGroup; ++k) {
        const int8_t q = values[(r * groups + g) * kernels::kQuantGroup + k];
        sum += q;
        if (g * kernels::kQuantGroup + k < in)
          out.mutable_data_ptr<float>()[r * in + g * kernels::kQuantGroup + k] = scales[r * groups + g] * q;
        else
          EXPECT_EQ(q, 0);
      }
      EXPECT_EQ(offsets[r * groups + g], -8 * sum);
    }
  }
  return out;
}

RC_GTEST_PROP(QuantizedProducts, EqualTheNumbersTheyStandFor, ()) {
  const auto n = *rc::gen::inRange<int64_t>(1, 20), in = *rc::gen::inRange<int64_t>(1, 140),
             out = *rc::gen::inRange<int64_t>(1, 70);
  for (const auto format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
    const at::Tensor x = at::randn({n, in}), w = at::randn({out, in});
    const QuantizedWeight q = quantize_weight(w, format);
    const at::Tensor plain = dequantize_weight(q, format, out, in), rounded = through_int8(x);
    // Half a unit of the row's scale. Of a group's a whole one, for what is cut at 7 opposite to its largest at -8, and
    // what the fit of all adds for one: over a tenth in one of 40,000 draws.
    const double unit = format == WeightFormat::kInt8 ? 1.02 / 127 / 2 : 1.4 / 8;
    RC_ASSERT(plain.sub(w).abs().max().item<double>() <= unit * w.abs().max().item<double>() + 1e-6);
    RC_ASSERT(rounded.sub(x).abs().max().item<double>() <= 0.51 / 127 * x.abs().max().item<double>());
    const at::Tensor want = linear_reference(rounded, plain, at::zeros({out}));
    RC_ASSERT(worst_of_sums(linears(x, {{q, {}, format, out, in}}).front(), want, in) < 3e-6);
    const at::Tensor ids = at::randint(0, out, {5}, at::kLong);
    RC_ASSERT(at::equal(quantized_rows(q, format, ids, in, at::kFloat), at::index_select(plain, 0, ids)));
  }
}

TEST(QuantizedProducts, ZerosAndTinyNumbersStayFinite) {
  for (const auto format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
    at::Tensor w = at::randn({20, 70});
    w[3].zero_();
    w[4].fill_(1e-38F);
    at::Tensor x = at::randn({3, 70});
    x[1].zero_();
    x[2].fill_(1e-38F);
    const at::Tensor y = linears(x, {{quantize_weight(w, format), {}, format, 20, 70}}).front();
    EXPECT_TRUE(y.isfinite().all().item<bool>());
    EXPECT_EQ(y[1].abs().max().item<float>(), 0);
    EXPECT_EQ(y[0][3].item<float>(), 0);
  }
}

// Machines without the instructions compute the same bits.
TEST(QuantizedProducts, InstructionsAndPlainCodeAgree) {
  const int64_t n = 7, in = 96, out = 32, groups = in / 32;
  std::vector<int8_t> values(n * in);
  std::vector<float> scales(n * groups);
  std::vector<int32_t> offsets(n * groups);
  const at::Tensor x = at::randn({n, in});
  const QuantizedWeight w8 = quantize_weight(at::randn({out, in}), WeightFormat::kInt8),
                        w4 = quantize_weight(at::randn({out, in}), WeightFormat::kInt4);
  const kernels::QuantizedRows rows{values.data(), scales.data(), offsets.data(), n, groups};
  const auto product = [&](auto gemm, const QuantizedWeight& w, int32_t offset, auto type) {
    kernels::quantize_rows(x.const_data_ptr<float>(), in, in, offset, rows);
    at::Tensor c = at::zeros({n, out});
    gemm(rows, w.values.const_data_ptr<uint8_t>(), static_cast<const decltype(type)*>(w.scales.const_data_ptr()), 2,
         c.mutable_data_ptr<float>(), out);
    return c;
  };
  int tried = 0;
  for (const auto native : {kernels::int8_gemm_avx512_vnni(), kernels::int8_gemm_avx2()}) {
    if (native == nullptr) continue;
    EXPECT_TRUE(at::equal(product(native, w8, -128, float()), product(kernels::int8_gemm_portable, w8, -128, float())));
    ++tried;
  }
  for (const auto native : {kernels::int4_gemm_avx512_vnni(), kernels::int4_gemm_avx2()}) {
    if (native == nullptr) continue;
    EXPECT_TRUE(
        at::equal(product(native, w4, -8, uint16_t()), product(kernels::int4_gemm_portable, w4, -8, uint16_t())));
    ++tried;
  }
  if (tried == 0) GTEST_SKIP() << "neither AVX-512 VNNI nor AVX2";
}

// The bf16 instruction against the portable kernel: other roundings, same numbers.
TEST(DotGemm, InstructionAndPortableCodeAgree) {
  const int64_t in = 200, out = 21;
  for (const int64_t n : {1, 3, 4, 9}) {
    const at::Tensor x = at::randn({n, in}).to(at::kBFloat16), w = at::randn({out, in}).to(at::kBFloat16);
    at::Tensor fast = at::zeros({n, out}), portable = at::zeros({n, out});
    const auto bits = [](const at::Tensor& t) { return static_cast<const uint16_t*>(t.const_data_ptr()); };
    kernels::dot_gemm(bits(x), in, n, bits(w), in, out, in, fast.mutable_data_ptr<float>(), out);
    kernels::dot_gemm_portable(bits(x), in, n, bits(w), in, out, in, portable.mutable_data_ptr<float>(), out);
    const at::Tensor want = linear_reference(x.to(at::kFloat), w.to(at::kFloat), at::zeros({out}));
    EXPECT_LT(worst_of_sums(fast, want, in), 3e-6);
    EXPECT_LT(worst_of_sums(portable, want, in), 3e-6);
  }
}

}  // namespace
}  // namespace throughline::ops

// The CPU's packed attention against the plain one: outputs, lse and gradients over head sizes, groups, lengths and
// evictions; the same bits for any number of threads; time and GFLOP/s with --gtest_also_run_disabled_tests.
#include "ops/packed_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <string>

#include "base/rng.h"

namespace throughline::ops {
namespace {

struct Case {
  int64_t q_heads, kv_heads, head_dim;
  std::vector<int64_t> tokens;
  int64_t sets = 0;  // of evictions; 0: none
  at::ScalarType dtype = at::kFloat;
};

struct Inputs {
  at::Tensor q, k, v, grad;
  PackedRows rows;
  double scale;

  explicit Inputs(const Case& c) : scale(1 / std::sqrt(static_cast<double>(c.head_dim))) {
    rows.row_begin = {0};
    for (const int64_t n : c.tokens) rows.row_begin.push_back(rows.row_begin.back() + n);
    const int64_t total = rows.row_begin.back();
    q = at::randn({total, c.q_heads, c.head_dim}).to(c.dtype), grad = at::randn(q.sizes()).to(c.dtype);
    k = at::randn({total, c.kv_heads, c.head_dim}).to(c.dtype), v = at::randn(k.sizes()).to(c.dtype);
    if (c.sets > 0) evict(c);
  }

  // Every second row: each token goes at a random later moment, some never.
  void evict(const Case& c) {
    CounterStream draws(3, 0, RngPurpose::kTest);
    rows.evicted_at = at::full({c.sets, q.size(0)}, kNeverEvicted, at::kInt);
    rows.evicts.assign(c.tokens.size(), 0);
    for (size_t r = 0; r < c.tokens.size(); r += 2) {
      rows.evicts[r] = 1;
      for (int64_t set = 0; set < c.sets; ++set) {
        int32_t* at = rows.evicted_at.data_ptr<int32_t>() + set * q.size(0) + rows.row_begin[r];
        for (int64_t i = 0; i < c.tokens[r]; ++i) {
          const int64_t when = draws.integer(i + 1, 2 * c.tokens[r] + 1);
          if (when <= c.tokens[r]) at[i] = static_cast<int32_t>(when);
        }
      }
    }
  }
};

double distance(const at::Tensor& got, const at::Tensor& want) {
  const at::Tensor x = got.to(at::kFloat), y = want.to(at::kFloat);
  return x.sub(y).abs().max().item<double>() / (y.abs().max().item<double>() + 1e-6);
}

TEST(PackedAttention, EqualsThePlainOne) {
  std::vector<Case> cases = {{4, 2, 32, {1, 17, 64, 129}}, {4, 2, 32, {256, 0, 31}, 2}, {1, 1, 2, {5, 300}, 1},
                             {6, 2, 6, {40, 130, 33}, 2},  {3, 3, 20, {200}, 3},        {7, 1, 64, {100, 150}, 1},
                             {80, 1, 16, {37, 20}, 1},     {2, 1, 80, {1100, 40}, 1},   {8, 4, 8, {64, 65, 63}, 4},
                             {2, 2, 128, {257, 100}, 1}};
  for (size_t i = 0; i < cases.size(); ++i) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      cases[i].dtype = dtype;
      const Inputs in(cases[i]);
      at::Tensor want_lse, lse;
      const at::Tensor want = packed_attention_reference(in.q, in.k, in.v, in.rows, in.scale, &want_lse);
      const at::Tensor got = packed_attention(in.q, in.k, in.v, in.rows, in.scale, &lse);
      const auto want_grads =
          packed_attention_backward_reference(in.grad, in.q, in.k, in.v, want, want_lse, in.rows, in.scale);
      const auto grads = packed_attention_backward(in.grad, in.q, in.k, in.v, want, want_lse, in.rows, in.scale);
      const double bound = dtype == at::kFloat ? 1e-5 : 1e-2;
      EXPECT_LT(distance(got, want), bound) << "case " << i;
      EXPECT_LT(distance(lse, want_lse), 1e-5) << "case " << i;
      EXPECT_LT(distance(grads.q, want_grads.q), bound) << "case " << i;
      EXPECT_LT(distance(grads.k, want_grads.k), bound) << "case " << i;
      EXPECT_LT(distance(grads.v, want_grads.v), bound) << "case " << i;
      EXPECT_EQ(got.scalar_type(), dtype);
      EXPECT_EQ(grads.k.scalar_type(), dtype);
    }
  }
}

TEST(PackedAttention, BitsDoNotDependOnThreads) {
  const Inputs in({4, 2, 32, {1500, 40, 300, 7}, 2});
  std::vector<at::Tensor> first;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    at::Tensor lse;
    const at::Tensor out = packed_attention(in.q, in.k, in.v, in.rows, in.scale, &lse);
    const auto grads = packed_attention_backward(in.grad, in.q, in.k, in.v, out, lse, in.rows, in.scale);
    const std::vector<at::Tensor> all = {out, lse, grads.q, grads.k, grads.v};
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(at::equal(all[i], first[i])) << threads << " threads";
  }
  at::set_num_threads(2);
}

TEST(PackedAttention, RefusesWhatDoesNotFit) {
  Inputs in({4, 2, 32, {10, 6}, 2});
  const auto run = [&] { packed_attention(in.q, in.k, in.v, in.rows, in.scale); };
  EXPECT_NO_THROW(run());
  in.rows.row_begin.back() = 15;
  EXPECT_THROW(run(), InvariantError);
  in.rows.row_begin.back() = 16;
  in.rows.evicted_at = in.rows.evicted_at.to(at::kLong);
  EXPECT_THROW(run(), InvariantError);
}

int64_t peak_rss_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6));
  }
  return -1;
}

// A row of 8K tokens: one head's probabilities alone would take 256 MiB.
TEST(PackedAttention, MemoryIsLinearInTheRow) {
  const Inputs in({2, 1, 8, {8192}, 1});
  { std::ofstream("/proc/self/clear_refs") << "5"; }  // the peak counts from here
  const int64_t before = peak_rss_kib();
  if (before < 0) GTEST_SKIP() << "no /proc/self/status";
  at::Tensor lse;
  const at::Tensor out = packed_attention(in.q, in.k, in.v, in.rows, in.scale, &lse);
  packed_attention_backward(in.grad, in.q, in.k, in.v, out, lse, in.rows, in.scale);
  EXPECT_LT(peak_rss_kib() - before, 48 << 10);
}

// Both directions of one layer, one thread; FLOPs count what is seen: 4 d a pair forward, 10 d backward.
TEST(PackedAttention, DISABLED_Speed) {
  at::set_num_threads(1);
  const auto now_ms = [] {  // of this thread: neighbours on the machine do not count
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return 1e3 * static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_nsec);
  };
  const auto best_ms = [&](const auto& work) {
    double best = 1e9;
    for (int i = 0; i < 15; ++i) {
      const double start = now_ms();
      work();
      best = std::min(best, now_ms() - start);
    }
    return best;
  };
  for (const Case& c : {Case{4, 2, 32, std::vector<int64_t>(8, 256)}, Case{8, 2, 32, std::vector<int64_t>(8, 256)},
                        Case{4, 4, 64, std::vector<int64_t>(8, 256)}, Case{4, 2, 128, {2048}},
                        Case{4, 2, 32, std::vector<int64_t>(8, 256), 2},
                        Case{4, 2, 32, std::vector<int64_t>(8, 256), 0, at::kBFloat16}}) {
    const Inputs in(c);
    at::Tensor lse, out;
    const double forward = best_ms([&] { out = packed_attention(in.q, in.k, in.v, in.rows, in.scale, &lse); });
    const double backward =
        best_ms([&] { packed_attention_backward(in.grad, in.q, in.k, in.v, out, lse, in.rows, in.scale); });
    double pairs = 0;
    for (const int64_t n : c.tokens) pairs += static_cast<double>(n * (n + 1) / 2 * c.q_heads * c.head_dim);
    std::printf(
        "%lld/%lld heads of %lld, %zu rows of %lld%s%s: forward %.2f ms (%.0f GFLOP/s), backward %.2f ms (%.0f)\n",
        (long long)c.q_heads, (long long)c.kv_heads, (long long)c.head_dim, c.tokens.size(), (long long)c.tokens[0],
        c.sets > 0 ? ", evictions" : "", c.dtype == at::kFloat ? "" : ", bf16", forward, 4e-6 * pairs / forward,
        backward, 10e-6 * pairs / backward);
  }
  at::set_num_threads(2);
}

}  // namespace
}  // namespace throughline::ops

#include "ops/summed_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

namespace throughline::ops {
namespace {

// Rows of 1, 32, 33 and one named twice; keys that fill no tile, as part of a longer cache; heads that pairs cannot
// take.
TEST(SummedAttention, EqualsReference) {
  at::manual_seed(7);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const auto vote : {GroupVote::kEach, GroupVote::kMaxLogits}) {
      for (const int64_t head_dim : {20, 64, 128}) {
        for (const auto& [rows, n] : {std::pair{1, 1}, {32, 40}, {33, 1000}}) {
          const at::Tensor queries = at::randn({rows, 6, head_dim}).to(type).to(at::kFloat);
          const at::Tensor keys = at::randn({2, n + 5, head_dim}).to(type).narrow(1, 3, n);
          std::vector<int64_t> named = {0};
          for (int64_t r = 0; r < rows; ++r) named.push_back(r);
          const double scale = 2 / std::sqrt(static_cast<double>(head_dim));
          const at::Tensor votes = summed_attention(queries, named, keys, scale, vote);
          const at::Tensor expected = summed_attention_reference(queries, named, keys, scale, vote);
          ASSERT_EQ(votes.sizes(), expected.sizes());
          EXPECT_LE(votes.sub(expected).abs().max().item<float>(), 2e-5F * static_cast<float>(rows + 1))
              << type << " head_dim " << head_dim << " rows " << rows;
          EXPECT_NEAR(votes.sum().item<float>(), static_cast<float>((rows + 1) * votes.size(0)), 1e-2F);
        }
      }
    }
  }
}

// Whole numbers, as int8 pages hold them, and a scale a key.
TEST(SummedAttention, TakesScalesOfKeys) {
  at::manual_seed(9);
  for (const auto vote : {GroupVote::kEach, GroupVote::kMaxLogits}) {
    for (const int64_t head_dim : {20, 64, 127}) {  // pairs cannot take the last
      const at::Tensor queries = at::randn({33, 6, head_dim}).to(at::kBFloat16).to(at::kFloat);
      const at::Tensor numbers = at::randint(-127, 128, {2, 1005, head_dim}).to(at::kBFloat16).narrow(1, 3, 1000);
      const at::Tensor scales = at::rand({2, 1005}).mul_(0.02).narrow(1, 3, 1000);
      std::vector<int64_t> rows(33);
      std::iota(rows.begin(), rows.end(), 0);
      const at::Tensor votes = summed_attention(queries, rows, numbers, 0.1, vote, scales);
      const at::Tensor keys = numbers.to(at::kFloat).mul(scales.unsqueeze(2));
      const at::Tensor expected = summed_attention_reference(queries, rows, keys, 0.1, vote);
      EXPECT_LE(votes.sub(expected).abs().max().item<float>(), 2e-5F * 33) << " head_dim " << head_dim;
    }
  }
}

TEST(SummedAttention, DoesNotDependOnThreads) {
  at::manual_seed(8);
  const int before = at::get_num_threads();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor queries = at::randn({32, 8, 64}), keys = at::randn({4, 3000, 64}).to(type);
    std::vector<int64_t> rows(32);
    for (int64_t i = 0; i < 32; ++i) rows[i] = i;
    at::set_num_threads(1);
    const at::Tensor alone = summed_attention(queries, rows, keys, 0.125, GroupVote::kEach);
    at::set_num_threads(4);
    EXPECT_TRUE(at::equal(summed_attention(queries, rows, keys, 0.125, GroupVote::kEach), alone));
  }
  at::set_num_threads(before);
}

}  // namespace
}  // namespace throughline::ops

#include "cache/step_attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <vector>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

constexpr int64_t kRows = 9;

// Two sequences take their first kRows rows together; `wanted` of all outputs, a layer, as attend_into() gives them.
std::vector<at::Tensor> first_step(std::vector<Subject>& subjects, const at::Tensor& wanted) {
  const std::vector<TokenKind> kinds(kRows, TokenKind::kPrompt);
  const Shape& shape = subjects[0].shape;
  std::vector<StepSequence> members;
  for (Subject& s : subjects) {
    s.cache.reserve(kRows);
    members.push_back({&s.cache, kinds});
  }
  StepAttention attention(members, frequencies(shape.head_dim), shape.scale());
  std::vector<at::Tensor> out;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const auto fed = [&](char what) {
      return at::cat({projections(shape, what, layer, 0, kRows), projections(shape, what, layer, 100, kRows)});
    };
    const at::Tensor q = fed('q');
    out.push_back(at::empty_like(wanted.defined() ? q.narrow(0, 0, wanted.size(0)) : q));
    attention.attend_into(static_cast<int>(layer), {}, q, fed('k'), fed('v'), wanted, out.back());
  }
  for (Subject& s : subjects) s.cache.commit(kinds);
  return out;
}

// Also where these are not the last rows of their sequences, and where a policy looks on.
TEST(StepAttention, WantedRowsAreThoseOfTheWholeStep) {
  Shape shape = shapes()[1];
  shape.prompt = kRows;
  for (const std::string spec : {"full", "rpc:interval=12,ratio=3,window=5,kernel=3", "h2o:budget=28,recent=5"}) {
    const auto policy = policy_of(spec);
    for (const std::vector<int64_t>& rows : std::vector<std::vector<int64_t>>{
             {8, 17}, {17}, {6, 7, 8, 16, 17}, {}, {3, 17}, {7, 17}, {6, 8, 17}, {17, 8}, {17, 16}}) {
      const at::Tensor wanted = at::tensor(rows, at::kLong);
      const auto pools = std::make_pair(make_pool(shape), make_pool(shape));
      std::vector<Subject> whole, part;
      for (int i = 0; i < 2; ++i) {
        whole.emplace_back(shape, pools.first.get(), policy.get());
        part.emplace_back(shape, pools.second.get(), policy.get());
      }
      const std::vector<at::Tensor> all = first_step(whole, {}), some = first_step(part, wanted);
      for (size_t layer = 0; layer < all.size(); ++layer)
        EXPECT_TRUE(some[layer].equal(all[layer].index_select(0, wanted))) << spec << " rows " << wanted;
      for (int step = 0; step < 20; ++step) {  // the caches and what the policies saw are the same, too
        for (size_t i = 0; i < whole.size(); ++i) {
          const auto x = whole[i].feed({TokenKind::kSampled}), y = part[i].feed({TokenKind::kSampled});
          for (size_t layer = 0; layer < x.size(); ++layer) ASSERT_TRUE(x[layer].equal(y[layer])) << spec;
          ASSERT_EQ(whole[i].event_if_due(), part[i].event_if_due()) << spec;
        }
      }
    }
  }
}

}  // namespace
}  // namespace throughline::harness

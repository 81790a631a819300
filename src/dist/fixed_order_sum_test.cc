#include "dist/fixed_order_sum.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

#include "dist/awkward_leaves.h"
#include "dist/shard.h"

namespace throughline {
namespace {

TEST(FixedOrderSum, IsTheBinaryTree) {
  const auto leaf = [](int64_t i) { return awkward_leaf(i, 50); };
  EXPECT_TRUE(at::equal(sum_alone(1, 50), leaf(0)));
  EXPECT_TRUE(at::equal(sum_alone(3, 50), (leaf(0) + leaf(1)) + leaf(2)));
  EXPECT_TRUE(at::equal(sum_alone(5, 50), ((leaf(0) + leaf(1)) + (leaf(2) + leaf(3))) + leaf(4)));
  EXPECT_TRUE(
      at::equal(sum_alone(7, 50), ((leaf(0) + leaf(1)) + (leaf(2) + leaf(3))) + ((leaf(4) + leaf(5)) + leaf(6))));
  // and the numbers are such that the order matters
  EXPECT_FALSE(at::equal(sum_alone(5, 50), (((leaf(0) + leaf(1)) + leaf(2)) + leaf(3)) + leaf(4)));
}

// The other ranks of a group, played one after the other: all_gather returns what the test collected before.
class PlayedGroup : public ProcessGroup {
 public:
  PlayedGroup(int rank, int world, std::vector<at::Tensor>* sent) : ProcessGroup(rank, world), sent_(sent) {}
  Status all_gather(at::Tensor output, at::Tensor input) override {
    if (collecting()) {
      (*sent_)[rank()] = input.clone();
      output.zero_();
      return Error{"collected", "", ""};
    }
    for (int r = 0; r < world(); ++r) output.view({world(), -1})[r].copy_((*sent_)[r].view({-1}));
    return {};
  }
  Status all_reduce(at::Tensor, Reduce) override { return {}; }
  Status reduce_scatter(at::Tensor, at::Tensor) override { return {}; }
  Status broadcast(at::Tensor, int) override { return {}; }
  Status barrier() override { return {}; }
  Status check() override { return {}; }
  void fail(const std::string&) override {}
  void leave() override {}

 private:
  bool collecting() const { return !(*sent_)[rank()].defined(); }
  std::vector<at::Tensor>* sent_;
};

TEST(FixedOrderSum, AnyNumberOfProcessesGivesTheSameBits) {
  for (int64_t leaves = 1; leaves <= 17; ++leaves) {
    const at::Tensor expected = sum_alone(leaves, 9);
    for (int world = 2; world <= 6; ++world) {
      std::vector<at::Tensor> sent(world);
      for (const bool collecting : {true, false}) {
        for (int rank = 0; rank < world; ++rank) {
          FixedOrderSum sum(leaves, 9, at::kFloat, rank, world);
          const LeafRange own = leaf_range(leaves, rank, world);
          for (int64_t leaf = own.begin; leaf < own.end; ++leaf) sum.add(awkward_leaf(leaf, 9));
          PlayedGroup group(rank, world, &sent);
          at::Tensor total = at::zeros({9});
          const Status status = sum.finish(group, total);
          EXPECT_EQ(status.ok(), !collecting);
          if (!collecting) {
            EXPECT_TRUE(at::equal(total, expected)) << leaves << " leaves, rank " << rank << " of " << world;
          }
        }
      }
    }
  }
}

TEST(Shard, RangesCoverAndAreEven) {
  rc::check("ranges are contiguous, aligned, and differ by at most one block", [] {
    const auto n = *rc::gen::inRange<int64_t>(0, 5000);
    const auto align = *rc::gen::inRange<int64_t>(1, 70);
    const auto world = *rc::gen::inRange<int>(1, 9);
    int64_t at = 0, least = n, most = 0;
    for (int r = 0; r < world; ++r) {
      const ShardRange range = shard_range(n, align, r, world);
      RC_ASSERT(range.begin == at);
      RC_ASSERT(range.end >= range.begin);
      RC_ASSERT(range.end == n || range.end % align == 0);
      at = range.end;
      least = std::min(least, range.size());
      most = std::max(most, range.size());
    }
    RC_ASSERT(at == n);
    RC_ASSERT(most - least < 2 * align);
  });
}

TEST(Shard, SplitEvenlyKeepsEveryItemOnce) {
  const std::vector<int64_t> tokens = {900, 10, 10, 500, 400, 10, 0, 300};
  const auto parts = split_evenly(tokens, 3);
  EXPECT_EQ(parts, (std::vector<std::vector<int64_t>>{{0}, {1, 2, 3, 5, 6}, {4, 7}}));
  std::vector<int64_t> seen;
  for (const auto& part : parts) {
    int64_t sum = 0;
    for (const int64_t item : part) sum += tokens[item];
    EXPECT_LE(sum, 900);
    seen.insert(seen.end(), part.begin(), part.end());
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(split_evenly(std::vector<int64_t>{}, 2).size(), 2u);
}

}  // namespace
}  // namespace throughline

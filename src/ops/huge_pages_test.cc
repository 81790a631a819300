#include "ops/huge_pages.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

namespace throughline::ops {
namespace {

TEST(HugePages, TensorsShareThemAndOutliveEachOther) {
  const at::Tensor first = copy_to_huge_pages(at::arange(3, at::kLong));
  at::Tensor second = copy_to_huge_pages(at::arange(3'000'000, at::kInt).view({1000, 3000}));
  at::Tensor third = empty_in_huge_pages({7}, at::kByte), none = empty_in_huge_pages({0, 4}, at::kFloat);
  const auto at = [](const at::Tensor& t) { return reinterpret_cast<uintptr_t>(t.const_data_ptr()); };
  EXPECT_EQ(at(second), at(first) + 64);
  EXPECT_EQ(at(third) % 64, 0U);
  EXPECT_EQ(none.numel(), 0);
  third.fill_(9);
  const at::Tensor large = empty_in_huge_pages({65 << 20}, at::kByte);  // over a chunk
  large.data_ptr<uint8_t>()[(65 << 20) - 1] = 1;
  EXPECT_TRUE(at::equal(second, at::arange(3'000'000, at::kInt).view({1000, 3000})));
  second.reset();
  EXPECT_TRUE(at::equal(first, at::arange(3, at::kLong)));
  EXPECT_EQ(third.sum().item<int64_t>(), 63);
}

}  // namespace
}  // namespace throughline::ops

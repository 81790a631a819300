// Tensors' memory on the CPU: aligned, and a block given back is taken again (ops/cpu_memory.h).
#include "ops/cpu_memory.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdint>
#include <vector>

namespace throughline::ops {
namespace {

TEST(CpuMemory, BlocksOfEverySizeAreAlignedAndKeepTheirContents) {
  use_heap_for_tensors();
  std::vector<at::Tensor> tensors;
  for (const int64_t count : {0, 1, 7, 8, 9, 63, 64, 65, 4095, 1 << 20, 90 << 20}) {
    tensors.push_back(at::arange(count, at::kFloat));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensors.back().const_data_ptr()) % 64, 0) << count;
  }
  for (const at::Tensor& t : tensors) EXPECT_TRUE(t.equal(at::arange(t.numel(), at::kFloat))) << t.numel();
  at::Tensor grown = tensors[4].clone();
  grown.resize_({1000});
  EXPECT_TRUE(grown.narrow(0, 0, 9).equal(tensors[4]));
}

TEST(CpuMemory, ABlockGivenBackIsTakenAgain) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers have a heap of their own";
#endif
  use_heap_for_tensors();
  constexpr int64_t kBytes = 3 << 20;
  std::vector<at::Tensor> held;  // small ones right behind the large, which could not grow into what follows
  const size_t before = mallinfo2().arena;
  for (int i = 0; i < 20; ++i) {
    const at::Tensor block = at::empty({kBytes}, at::kByte);
    held.push_back(at::empty({1 << 10}, at::kByte));
  }
  EXPECT_LT(mallinfo2().arena, before + 2 * kBytes);
}

}  // namespace
}  // namespace throughline::ops

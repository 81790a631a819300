#include "ops/cpu/cpu_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "ops/cpu/attention_scores.h"
#include "ops/cpu/dot_gemm.h"
#include "ops/cpu/int8_attention.h"
#include "ops/cpu/pair_product.h"
#include "ops/cpu/panel_gemm.h"
#include "ops/cpu/quantized_gemm.h"

namespace throughline::ops {
namespace {

TEST(CpuLimit, AnUnknownNameIsTold) {
  const Status status = limit_cpu("avx3");
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().line(),
              testing::HasSubstr("THROUGHLINE_CPU: unknown instruction set \"avx3\"; use one of: "));
  EXPECT_TRUE(limit_cpu("best").ok());
}

// The limit of this run (cmake/limited_test_main.cc; ctest's ops_avx2 has one) holds for every kernel.
TEST(CpuLimit, HoldsForHighwayAndForIntrinsics) {
  const char* named = std::getenv("THROUGHLINE_CPU");
  const std::string limit = named == nullptr ? "" : named;
  if (!limit.empty() && limit != "best") {
    EXPECT_FALSE(cpu::has_avx512_bf16());
    EXPECT_FALSE(cpu::has_avx512_vnni());
  }
  EXPECT_EQ(cpu::pair_product() != nullptr, cpu::has_avx512_bf16() || cpu::has_avx2());
  EXPECT_EQ(cpu::score_slots_bf16() != nullptr, cpu::has_avx512_bf16());
  EXPECT_EQ(kernels::dot_gemm_avx512_bf16() != nullptr, cpu::has_avx512_bf16());
  EXPECT_EQ(cpu::int8_attention() != nullptr, cpu::has_avx512_vnni() || cpu::has_avx2());
  EXPECT_EQ(kernels::int8_gemm_avx512_vnni() != nullptr, cpu::has_avx512_vnni());
  EXPECT_EQ(kernels::int8_gemm_avx2() != nullptr, cpu::has_avx2());
  EXPECT_EQ(kernels::int4_gemm_avx2() != nullptr, cpu::has_avx2());
  EXPECT_EQ(kernels::int4_gemm_avx512_vnni() != nullptr, cpu::has_avx512_vnni());
  // Two vectors of the set; asked last, as Highway forgets the limit when it is asked what the machine has.
  if (limit == "sse4") {
    EXPECT_EQ(kernels::panel_columns(), 8);
  }
  if (limit == "avx2") {
    EXPECT_EQ(kernels::panel_columns(), 16);
  }
}

}  // namespace
}  // namespace throughline::ops

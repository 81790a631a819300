// Scores of attention from bf16 queries and bf16 keys by the AVX-512 BF16 instruction, where the machine has it.
//
// Highway 1.0.3 has no such operation, hence the intrinsics. A score's roundings depend on its own query and key only:
// one vector of sums over head_dim in ascending order, its lanes added in one fixed tree, then times `scale`. No torch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace throughline::ops::cpu {

struct ScoreTask {
  const uint16_t* queries = nullptr;  // [query_count, head_dim]
  int64_t query_count = 0;
  int64_t head_dim = 0;                    // a multiple of 32
  const std::byte* const* rows = nullptr;  // 16 keys
  // Rows to fetch into L2 while the rows are read: rows[ahead ...]; 0: none.
  int64_t ahead = 0;
  float scale = 1;
  float* scores = nullptr;  // of query 0: 16; the next query's `stride` further
  int64_t stride = 0;
};

using ScoreSlots = void (*)(const ScoreTask& task);
constexpr int64_t kScoreHeadDimStep = 32;

ScoreSlots score_slots_bf16();  // null where the machine lacks the instruction

}  // namespace throughline::ops::cpu

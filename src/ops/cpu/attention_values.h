// Softmax weights rounded to bf16, and sums of bf16 values by them, by the AVX-512 BF16 instruction where the machine
// has it: half the arithmetic of widening values to fp32.
//
// Intrinsics as in attention_scores.h. A query's weights are relative to its block's highest score; their total is that
// of the rounded ones. Its sums add two slots at a time in ascending order, slots 2 i and 2 i + 1 together, whatever
// queries stand beside it: their roundings depend on its own weights only. No torch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/attention_block.h"

namespace throughline::ops::cpu {

struct ValueTask {
  int64_t query_count = 0;
  int64_t head_dim = 0;                    // a multiple of 32
  const float* weights = nullptr;          // of query 0, as soften() left them; the next's kAttentionBlockSlots further
  const int64_t* seen = nullptr;           // slots whose weights count, a query; ascending
  const std::byte* const* rows = nullptr;  // values
  int64_t ahead = 0;                       // rows to fetch into L2 while rows are read: rows[ahead ...]
  // [query_count, head_dim], added to; rows `sums_stride` apart. Of 32 elements the even ones come first.
  float* sums = nullptr;
  int64_t sums_stride = 0;
};

struct AttentionValues {
  // Scores of one query to bf16 weights in their place, zeros behind up to whole vectors.
  void (*soften)(float* scores, int64_t slots, float* highest, float* total);
  void (*sum)(const ValueTask& task);
};

constexpr int64_t kValueHeadDimStep = 32;
constexpr int64_t kValueGroup = 3;  // queries a KV head from which it pays: fewer wait for memory

const AttentionValues* attention_values_bf16();  // null where the machine lacks the instruction

}  // namespace throughline::ops::cpu

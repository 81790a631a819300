// Attention of many query rows over pages of bf16 or int8 K and V, in fast mode: what a prefill's slices run, on
// machines with the AVX-512 BF16 instruction.
//
// A tile of queries (attention_kernels.h) passes the slots in blocks; a block of K and V is packed into pairs once for
// all of the tile's queries. Scores and sums in fp32; the softmax weights are rounded to bf16 before they multiply V
// (and their total is that of the rounded ones); decode and --exact do so for large groups only (attention_values.h).
// Source: FlashAttention-2 (arXiv 2307.08691).
#pragma once

#include <cstdint>

#include "ops/cpu/attention_kernels.h"

namespace throughline::ops::cpu {

// A block's packed K and V are half of an L2 cache, and packing them is a sixteenth of the work for so many queries
// (bench/attention_bench, Prefill).
constexpr int64_t kPairTileQueries = 192;

bool tile_attention_supported();  // by this machine
// Whether a task's dtypes and head_dim fit.
bool tile_attention_fits(const AttentionTask& task);

int64_t tile_attention_scratch_floats(int64_t queries, int64_t head_dim);
// Writes task.out and, if wanted, task.lse. REQUIRES: tile_attention_fits(), no partials, no logits, all blocks.
void tile_attention(const AttentionTask& task, float* scratch);

}  // namespace throughline::ops::cpu

// The vector kernels of paged attention on the CPU: one KV head of one sequence against a tile of query rows.
//
// Internal to ops/cpu. A *query* is one (row, query head) pair of the tile; query i is row i / group, head i % group of
// the KV head's group. Every operation on a query is the same sequence of roundings whatever tile it sits in, so that
// its bits depend on its own vector and slots only (and on the vector width of the machine).
// Lane layout: vectors of head_dim elements are held padded to whole vectors; for bf16 pools even elements of a chunk
// come before odd ones, which is how a 32-bit shift and a mask widen bf16. Threads: pure functions of their arguments.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cpu/attention_scores.h"
#include "ops/cpu/attention_values.h"
#include "ops/cpu/int8_attention.h"
#include "ops/paged_layout.h"

namespace throughline::ops::cpu {

constexpr int64_t kTileQueries = 64;  // a tile has at most so many queries, or one row

struct AttentionTask {
  const PageLayout* k = nullptr;
  const PageLayout* v = nullptr;
  const int32_t* page_table = nullptr;
  int64_t kv_head = 0;
  const std::byte* q = nullptr;  // of the tile's first row and the group's first head
  bool q_bf16 = false;
  int64_t q_heads = 0, group = 0;
  int64_t rows = 0;
  int64_t first_slots = 0;  // slots that the first row sees; each further row sees one more
  int64_t block_begin = 0, block_end = 0;
  float scale = 1;
  ScoreSlots score_slots = nullptr;         // the machine's, or null
  const AttentionValues* values = nullptr;  // likewise
  const Int8Attention* int8 = nullptr;      // likewise
  bool by_pairs = false;                    // to be done by tile_attention()
  // Where to: either partials (one a block and query, for a sequence cut over threads) or the results.
  float* partials = nullptr;
  std::byte* out = nullptr;             // like q
  float* lse = nullptr;                 // of the first query, rows q_heads apart; or null
  float* logits = nullptr;              // [group, slots] of a single row; or null
  const AttentionTask* next = nullptr;  // of the same pools, done by the same thread afterwards: its K is fetched ahead

  int64_t queries() const { return rows * group; }
  int64_t slots() const { return first_slots + rows - 1; }
};

struct ColumnSumTask {
  AttentionTask attention;  // its lse is read
  float* sums = nullptr;    // of slot 0; added to
};

struct AttentionKernels {
  // Floats of scratch (64-byte aligned) that so many tasks of so many queries and such a head_dim need together.
  int64_t (*scratch_floats)(int64_t queries, int64_t head_dim, int64_t tasks);
  int64_t (*partial_floats)(int64_t head_dim);  // of one block of one query
  // Tasks that differ in their KV head and blocks only, block after block of all: pages hold their heads one behind the
  // other, and memory is read fastest so (bench/attention_bench, Decode).
  void (*attend)(const AttentionTask* tasks, int64_t count, float* scratch);
  // Merges the partials of all blocks of a task (from block 0) into its results.
  void (*merge)(const AttentionTask& task, float* scratch);
  void (*column_sums)(const ColumnSumTask& task, float* scratch);
  // fp32 or bf16 numbers to int8, as a token of a tile; returns the scale. What is not finite makes the scale NaN.
  float (*quantize_row)(const std::byte* from, bool bf16, int64_t head_dim, const Int8Tile& tile, int64_t token,
                        std::byte* to);
  // fp32 [head_dim] from a token of a tile of keys, or of values.
  void (*widen_key)(const std::byte* tile, int64_t token, float scale, int64_t head_dim, float* to);
  void (*widen_value)(const std::byte* tile, int64_t token, float scale, int64_t head_dim, float* to);
  // bf16 [head_dim], without the scale: exact.
  void (*key_numbers)(const std::byte* tile, int64_t token, int64_t head_dim, uint16_t* to);
};

AttentionKernels attention_kernels();  // the best for this machine

}  // namespace throughline::ops::cpu

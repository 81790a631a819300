// Decode attention straight from tiles of int8 K and V by whole numbers, by AVX-512 VNNI or AVX2. Internal to ops/cpu;
// attention_kernels-inl.h calls it block by block, and widens rows to fp32 itself where this is null.
//
// Queries are rounded relative to their largest number, by VNNI to 8 bits, as keys are, else to 16; softmax weights
// times the scales of V relative to the largest of a block, by VNNI to 16 bits, multiplied as two bytes, else to 15.
// Sums of products are exact, so they do not depend on how queries are grouped. head_dim is a multiple of 64 up to 256.
// No torch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/attention_block.h"
#include "ops/int8_tiles.h"

namespace throughline::ops::cpu {

constexpr int64_t kInt8HeadDimStep = 64, kInt8MostHeadDim = 256;
constexpr int64_t kInt8QueryBytes = 2 * kInt8MostHeadDim + 64;  // whole lines; the same for every head_dim

struct Int8ScoreTask {
  const std::byte* queries = nullptr;  // as load_query() leaves them, kInt8QueryBytes apart
  int64_t query_count = 0;
  int64_t head_dim = 0;
  int64_t slots = 0;                       // a multiple of 16
  const std::byte* const* rows = nullptr;  // keys: a tile's first is where the tile is, the rest only to be fetched
  const float* scales = nullptr;           // of these
  int64_t ahead = 0;                       // rows to fetch into L2 meanwhile: rows[ahead ...]
  float* scores = nullptr;                 // of query 0; the next query's kAttentionBlockSlots further
};

struct Int8ValueTask {
  int64_t query_count = 0;
  int64_t head_dim = 0;
  float* scores = nullptr;                 // of query 0; the next query's kAttentionBlockSlots further; overwritten
  const int64_t* seen = nullptr;           // slots that count, a query; never fewer than the one's before
  const std::byte* const* rows = nullptr;  // values, likewise; to the largest `seen` rounded up to 16
  const float* scales = nullptr;           // of these
  int64_t ahead = 0;                       // as above; 0: none
  float* highest = nullptr;                // out, a query: of the scores that count
  float* total = nullptr;                  // out, a query: of the softmax weights relative to it
  // Out, [query_count, head_dim], where anything is seen: of the values times weights; rows `sums_stride` apart.
  float* sums = nullptr;
  int64_t sums_stride = 0;
};

struct Int8Attention {
  // One query, times `scale`, into kInt8QueryBytes.
  void (*load_query)(const std::byte* query, bool bf16, int64_t head_dim, float scale, std::byte* out);
  void (*scores)(const Int8ScoreTask& task);
  void (*values)(const Int8ValueTask& task);
};

const Int8Attention* int8_attention();  // the best for this machine, or null

// REQUIRES: the machine has the instructions.
const Int8Attention* int8_attention_avx512_vnni();
const Int8Attention* int8_attention_avx2();

}  // namespace throughline::ops::cpu

// Attention over paged K and V, and the writes into the pages.
//
// Pools are [pages, kv_heads, page_tokens, head_dim], K and V apart, fp32 or bf16, contiguous but for any stride over
// pages; on the CPU (CUDA: issue F). Or int8, with one fp32 scale for each token and head: then the last extent is
// head_dim + kKvScaleBytes, and a head's part of a page holds the numbers of all its tokens, in tiles
// (ops/int8_tiles.h: page_tokens is a multiple of 16, head_dim of 4), and behind them their scales. A number is its
// int8 times the scale; rows are rounded as they are appended (largest magnitude / 127). A *slot* is a place in a
// sequence's cache: slot s of a sequence is token s % page_tokens of page page_table[seq][s / page_tokens]. Slots in
// use are 0 .. length-1 without holes; their order need not be the order of positions. A batch is a list of sequences;
// rows of sequence s are rows row_begin[s] .. row_begin[s+1]-1 of q, k, v. `lengths` count the slots in use after this
// step's rows were appended, so the j-th of a sequence's r rows sits in slot length - r + j and attends to slots 0 ..
// length - r + j (causal by slot).
//
// Reduction order is fixed: blocks of kAttentionBlockSlots slots counted from slot 0, each reduced by
// itself, merged in slot order. So a row's result depends on its query and its slots only; in fast mode long runs of
// bf16 rows may be reduced otherwise (ops/cpu/tile_attention.h). fp32 accumulation, online softmax. K and V are read
// once per group of query heads (GQA). CPU: threads split (sequence, KV head) pairs and rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "ops/attention_block.h"
#include "ops/numeric.h"
#include "ops/rope.h"

namespace throughline::ops {

constexpr int64_t kKvScaleBytes = 4;

enum class KvSide { kKeys, kValues };

struct PagedKv {  // one layer
  at::Tensor k, v;
  const at::Tensor& pool(KvSide side) const { return side == KvSide::kKeys ? k : v; }
  int64_t kv_heads() const { return k.size(1); }
  int64_t page_tokens() const { return k.size(2); }
  bool int8() const { return k.scalar_type() == at::kChar; }
  int64_t head_dim() const { return k.size(3) - (int8() ? kKvScaleBytes : 0); }
};

struct PagedBatch {
  std::vector<int32_t> row_begin;   // [seqs + 1]
  std::vector<int32_t> page_table;  // [seqs, max_pages], row-major; unused entries -1
  std::vector<int32_t> lengths;     // [seqs, kv_heads], row-major
  int32_t max_pages = 0;
  int32_t seqs() const { return static_cast<int32_t>(row_begin.size()) - 1; }
};

// Writes k, v [rows, kv_heads, head_dim] (same dtype as the pool, contiguous; for an int8 pool fp32 or bf16) into the
// slots of their rows.
void paged_append(const at::Tensor& k, const at::Tensor& v, const PagedBatch& batch, const PagedKv& kv);

// Of the heads of q and k, before they are rotated (qwen3).
struct HeadNorms {
  at::Tensor q, k;  // weights [head_dim], of q's dtype; undefined: there are none
  double eps = 0;
};

// A layer's projections on their way into the pages, in one pass: q [rows, q_heads, head_dim] and k are normalised and
// rotated in place, then k and v are written as paged_append() does. To the bit rms_norm(), rope() and paged_append().
void rotate_and_append(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const HeadNorms& norms,
                       const RopeAngles& angles, const PagedBatch& batch, const PagedKv& kv);

// What a policy may want to see besides the output. Undefined tensors are not written.
struct AttentionProbe {
  at::Tensor lse;                  // fp32 [rows, q_heads]: log-sum-exp of the scaled scores
  std::vector<at::Tensor> logits;  // one entry a sequence: fp32 [q_heads, length] scaled scores in slot order, or
                                   // undefined; only for sequences with exactly one row
};

// q [rows, q_heads, head_dim] contiguous -> [rows, q_heads, head_dim], q's dtype. scale is usually 1/sqrt(head_dim).
// `into` (like q, not q), if given, is filled instead.
at::Tensor paged_attention(const at::Tensor& q, const PagedKv& kv, const PagedBatch& batch, double scale,
                           AttentionProbe* probe = nullptr, NumericMode mode = NumericMode::kExact,
                           const at::Tensor& into = {});

// Some sequences of a batch, for tasks that take a few of them through a layer.
struct PagedRows {
  const PagedBatch* batch;
  int64_t from, to;  // sequences
  int64_t q_heads;
};

// The same two for fp32 rows in memory, contiguous from the first row of the first sequence on; on the calling thread,
// no torch inside. REQUIRES: a well-formed batch for a pool of fp32 or int8.
void paged_append(const float* k, const float* v, const PagedRows& rows, const PagedKv& kv);
void paged_attention(const float* q, const PagedRows& rows, const PagedKv& kv, double scale, float* out);

// The same by plain loops, double accumulation; for tests.
at::Tensor paged_attention_reference(const at::Tensor& q, const PagedKv& kv, const PagedBatch& batch, double scale,
                                     AttentionProbe* probe = nullptr);

// For every slot of one sequence the attention it received from the sequence's rows of this step, summed over rows and
// over the query heads of each group: fp32 [kv_heads, length]. A second pass over K with the lse of the first.
// `into` (fp32 [kv_heads, >= length], rows contiguous), if given, is added to and returned instead. Each slot adds row
// after row, head after head, so sums carried on in `into` do not depend on how the rows were cut into steps.
at::Tensor paged_attention_column_sums(const at::Tensor& q, const at::Tensor& lse, const PagedKv& kv,
                                       const PagedBatch& batch, int32_t seq, double scale, const at::Tensor& into = {});

// Copies slots of one sequence (pages given in order) into fp32 [kv_heads, n, head_dim]; slots [kv_heads or 1, n]
// int64. `into`, if given, is filled instead: of that shape, fp32 or, from a bf16 pool, bf16.
at::Tensor gather_slots(const PagedKv& kv, KvSide side, const std::vector<int32_t>& pages, const at::Tensor& slots,
                        const at::Tensor& into = {});
// Keys of an int8 pool, not yet multiplied: their numbers into bf16 [kv_heads, n, head_dim], exact, and their scales
// into fp32 [kv_heads, n].
void gather_int8_keys(const PagedKv& kv, const std::vector<int32_t>& pages, const at::Tensor& slots,
                      const at::Tensor& numbers, const at::Tensor& scales);

// Moves token `from` to token `to` for one KV head (head < 0: all heads), K and V. Both in slots of one sequence. Moves
// of a head happen in their order.
struct SlotMove {
  int32_t head, from, to;
};
void move_slots(const PagedKv& kv, const std::vector<int32_t>& pages, const std::vector<SlotMove>& moves);

}  // namespace throughline::ops

// Where a slot's K or V lies: pointer arithmetic and checks shared by everything that touches pages. Internal to ops.
//
// Pages need not be adjacent ([pages, ...] may have any stride over pages); inside a page everything is contiguous.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "base/result.h"
#include "ops/int8_tiles.h"
#include "ops/paged_attention.h"

namespace throughline::ops {

// One of K and V of one layer.
struct PageLayout {
  std::byte* base = nullptr;
  int64_t pages = 0, kv_heads = 0, page_tokens = 0, head_dim = 0;
  int64_t element_bytes = 0, page_stride_bytes = 0;
  bool bf16 = false, int8 = false;
  Int8Tile tile{.tokens = 1, .together = 1, .flipped = {}};  // of int8; else of one token

  // Throws InvariantError if the tensor is not a pool.
  static PageLayout of(const PagedKv& kv, KvSide side);

  int64_t row_bytes() const { return head_dim * element_bytes; }  // without an int8 row's scale
  int64_t head_bytes() const { return page_tokens * (row_bytes() + (int8 ? kKvScaleBytes : 0)); }
  std::byte* head_page(int32_t page, int64_t head) const {
    return base + page * page_stride_bytes + head * head_bytes();
  }
  // A slot's row; of int8 the tile in which it is token slot % tile.tokens.
  std::byte* row(const int32_t* page_table, int64_t head, int64_t slot) const {
    const int64_t in_page = slot % page_tokens;
    return head_page(page_table[slot / page_tokens], head) + (in_page - in_page % tile.tokens) * row_bytes();
  }
  // Where an int8 row's scale lies; those of a page's tokens one behind the other. Aligned as the page's size allows.
  std::byte* scale(const int32_t* page_table, int64_t head, int64_t slot) const {
    return head_page(page_table[slot / page_tokens], head) + page_tokens * row_bytes() +
           slot % page_tokens * kKvScaleBytes;
  }
  float scale_value(const int32_t* page_table, int64_t head, int64_t slot) const {
    float out = 1;
    if (int8) std::memcpy(&out, scale(page_table, head, slot), sizeof(out));
    return out;
  }
};

// Throws InvariantError unless tensors live on the CPU (CUDA: issue F).
void require_cpu(const at::Tensor& tensor, const char* name);

// Throws InvariantError unless the batch is well formed for these pools: `rows` rows, every slot in use on a valid
// page, at least as many slots as rows.
void check_paged_batch(const PagedKv& kv, const PagedBatch& batch, int64_t rows);

// Checks q and the probe as well; used by every implementation of attention.
void check_attention(const at::Tensor& q, const PagedKv& kv, const PagedBatch& batch, const AttentionProbe* probe);

}  // namespace throughline::ops

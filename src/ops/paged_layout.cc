#include "ops/paged_layout.h"

namespace throughline::ops {

void require_cpu(const at::Tensor& tensor, const char* name) {
  TL_CHECK(tensor.defined(), std::string(name) + " is undefined");
  TL_CHECK(tensor.device().is_cpu(),
           std::string(name) + " is on " + tensor.device().str() + ": paged attention off the CPU comes with issue F");
}

PageLayout PageLayout::of(const PagedKv& kv, KvSide side) {
  const at::Tensor& pool = kv.pool(side);
  require_cpu(pool, "a page pool");
  TL_CHECK(pool.dim() == 4, "a pool is [pages, kv_heads, page_tokens, head_dim]");
  const bool int8 = pool.scalar_type() == at::kChar;
  TL_CHECK(int8 || pool.scalar_type() == at::kFloat || pool.scalar_type() == at::kBFloat16,
           "a pool is fp32, bf16 or int8");
  PageLayout out;
  out.base = static_cast<std::byte*>(pool.data_ptr());
  const int64_t extent = pool.size(3);
  out.pages = pool.size(0), out.kv_heads = pool.size(1), out.page_tokens = pool.size(2);
  out.head_dim = extent - (int8 ? kKvScaleBytes : 0);
  TL_CHECK(out.head_dim > 0, "a pool without elements");
  out.bf16 = pool.scalar_type() == at::kBFloat16;
  out.int8 = int8;
  if (int8) {
    out.tile = side == KvSide::kKeys ? kInt8Keys : kInt8Values;
    TL_CHECK(out.page_tokens % kInt8PageTokens == 0 && out.head_dim % kInt8HeadDim == 0,
             "an int8 page has a multiple of 16 tokens, a head of 4 elements");
  }
  out.element_bytes = pool.element_size();
  out.page_stride_bytes = pool.stride(0) * out.element_bytes;
  TL_CHECK(extent == 1 || pool.stride(3) == 1, "a page is contiguous");
  TL_CHECK(out.page_tokens == 1 || pool.stride(2) == extent, "a page is contiguous");
  TL_CHECK(out.kv_heads == 1 || pool.stride(1) == out.page_tokens * extent, "a page is contiguous");
  return out;
}

void check_paged_batch(const PagedKv& kv, const PagedBatch& batch, int64_t rows) {
  const int64_t seqs = batch.seqs(), kv_heads = kv.kv_heads(), page_tokens = kv.page_tokens();
  TL_CHECK(kv.k.sizes() == kv.v.sizes() && kv.k.scalar_type() == kv.v.scalar_type(), "K and V pools differ");
  TL_CHECK(seqs >= 0 && batch.row_begin.front() == 0 && batch.row_begin.back() == rows,
           "row_begin does not cover the rows");
  TL_CHECK(static_cast<int64_t>(batch.lengths.size()) == seqs * kv_heads, "lengths is not [seqs, kv_heads]");
  TL_CHECK(static_cast<int64_t>(batch.page_table.size()) == seqs * batch.max_pages,
           "page_table is not [seqs, max_pages]");
  for (int64_t s = 0; s < seqs; ++s) {
    const int32_t seq_rows = batch.row_begin[s + 1] - batch.row_begin[s];
    TL_CHECK(seq_rows >= 0, "row_begin falls");
    int32_t longest = 0;
    for (int64_t h = 0; h < kv_heads; ++h) {
      const int32_t length = batch.lengths[s * kv_heads + h];
      TL_CHECK(length >= seq_rows, "a sequence has fewer slots than rows");
      longest = std::max(longest, length);
    }
    const int64_t used = (longest + page_tokens - 1) / page_tokens;
    TL_CHECK(used <= batch.max_pages, "a sequence is longer than its page table");
    for (int64_t p = 0; p < used; ++p) {
      const int32_t page = batch.page_table[s * batch.max_pages + p];
      TL_CHECK(page >= 0 && page < kv.k.size(0), "a page id is out of range");
    }
  }
}

void check_attention(const at::Tensor& q, const PagedKv& kv, const PagedBatch& batch, const AttentionProbe* probe) {
  require_cpu(q, "q");
  TL_CHECK(q.dim() == 3 && q.is_contiguous(), "q is [rows, q_heads, head_dim], contiguous");
  TL_CHECK(q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16, "q is fp32 or bf16");
  TL_CHECK(q.size(2) == kv.head_dim(), "q and the pool have different head_dim");
  TL_CHECK(kv.kv_heads() > 0 && q.size(1) % kv.kv_heads() == 0, "q_heads is not a multiple of kv_heads");
  check_paged_batch(kv, batch, q.size(0));
  if (probe == nullptr) return;
  if (probe->lse.defined()) {
    TL_CHECK(probe->lse.sizes() == q.sizes().slice(0, 2) && probe->lse.scalar_type() == at::kFloat &&
                 probe->lse.is_contiguous(),
             "lse is fp32 [rows, q_heads]");
  }
  TL_CHECK(probe->logits.empty() || static_cast<int32_t>(probe->logits.size()) == batch.seqs(),
           "logits has one entry a sequence");
  for (size_t s = 0; s < probe->logits.size(); ++s) {
    const at::Tensor& logits = probe->logits[s];
    if (!logits.defined()) continue;
    TL_CHECK(batch.row_begin[s + 1] - batch.row_begin[s] == 1, "logits of a sequence with other than one row");
    TL_CHECK(logits.scalar_type() == at::kFloat && logits.is_contiguous() && logits.dim() == 2 &&
                 logits.size(0) == q.size(1),
             "logits is fp32 [q_heads, length]");
    for (int64_t h = 0; h < kv.kv_heads(); ++h) {
      TL_CHECK(batch.lengths[s * kv.kv_heads() + h] == logits.size(1), "logits is not as wide as the sequence is long");
    }
  }
}

}  // namespace throughline::ops

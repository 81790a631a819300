#include "ops/paged_attention.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "ops/autograd.h"
#include "ops/cpu/attention_kernels.h"
#include "ops/cpu/paged_attention_cpu.h"
#include "ops/paged_layout.h"
#include "ops/parallel.h"
#include "ops/row_kernels.h"

namespace throughline::ops {
namespace {

constexpr int64_t kCopyGrainBytes = 64 << 10;  // below this a thread is not worth waking

int64_t rows_per_thread(int64_t row_bytes) { return std::max<int64_t>(1, kCopyGrainBytes / row_bytes); }

// What may be written into a pool.
bool fits(const at::Tensor& rows, at::ScalarType pool) {
  if (pool != at::kChar) return rows.scalar_type() == pool;
  return rows.scalar_type() == at::kFloat || rows.scalar_type() == at::kBFloat16;
}

void move_row(const PageLayout& pool, const int32_t* table, int64_t head, int64_t from, int64_t to) {
  const std::byte* source = pool.row(table, head, from);
  std::byte* target = pool.row(table, head, to);
  if (!pool.int8) {
    std::memcpy(target, source, pool.row_bytes());
    return;
  }
  pool.tile.move(source, from % pool.tile.tokens, target, to % pool.tile.tokens, pool.head_dim);
  std::memcpy(pool.scale(table, head, to), pool.scale(table, head, from), kKvScaleBytes);
}

void check_pages(const PageLayout& pool, const std::vector<int32_t>& pages) {
  for (int32_t page : pages) TL_CHECK(page >= 0 && page < pool.pages, "a page id is out of range");
}

// Writes rows of K and V into their slots.
class Appender {
 public:
  Appender(const PagedKv& kv, bool bf16)
      : k_(PageLayout::of(kv, KvSide::kKeys)),
        v_(PageLayout::of(kv, KvSide::kValues)),
        kernels_(cpu::attention_kernels()),
        bf16_(bf16) {}
  int64_t head_bytes() const { return k_.head_dim * (bf16_ ? 2 : 4); }
  int64_t source_bytes() const { return k_.kv_heads * head_bytes(); }  // of a row of k or v

  // Rows [from, to) of sequence s; k and v point to row 0 of the batch.
  void append(const PagedBatch& batch, int64_t s, int64_t from, int64_t to, const std::byte* k,
              const std::byte* v) const {
    const int32_t* table = batch.page_table.data() + s * batch.max_pages;
    const int64_t end = batch.row_begin[s + 1];
    for (int64_t row = from; row < to; ++row) {
      for (int64_t head = 0; head < k_.kv_heads; ++head) {
        const int64_t slot = batch.lengths[s * k_.kv_heads + head] - (end - row);
        const int64_t source = row * source_bytes() + head * head_bytes();
        put(k_, table, head, slot, k + source);
        put(v_, table, head, slot, v + source);
      }
    }
  }

 private:
  void put(const PageLayout& pages, const int32_t* table, int64_t head, int64_t slot, const std::byte* from) const {
    std::byte* row = pages.row(table, head, slot);
    if (!pages.int8) {
      std::memcpy(row, from, pages.row_bytes());
      return;
    }
    const float scale = kernels_.quantize_row(from, bf16_, pages.head_dim, pages.tile, slot % pages.tile.tokens, row);
    std::memcpy(pages.scale(table, head, slot), &scale, sizeof(scale));
  }

  PageLayout k_, v_;
  cpu::AttentionKernels kernels_;
  bool bf16_;
};

void check_rows(const at::Tensor& k, const at::Tensor& v, const PagedKv& kv) {
  for (const at::Tensor* part : {&k, &v}) {
    require_cpu(*part, "k or v");
    TL_CHECK(part->dim() == 3 && part->is_contiguous() && part->size(0) == k.size(0) &&
                 part->size(1) == kv.kv_heads() && part->size(2) == kv.head_dim() &&
                 part->scalar_type() == k.scalar_type() && fits(*part, kv.k.scalar_type()),
             "k and v are [rows, kv_heads, head_dim], contiguous, of the pool's dtype");
  }
}

template <class T>
void norm_and_rotate(const at::Tensor& x, int64_t row, const at::Tensor& norm, double eps, const RopeAngles& angles) {
  const int64_t heads = x.size(1), head_dim = x.size(2), half = head_dim / 2;
  T* heads_of_row = static_cast<T*>(x.mutable_data_ptr()) + row * heads * head_dim;
  if (norm.defined())
    kernels::rms_norm(heads_of_row, static_cast<const T*>(norm.const_data_ptr()), heads_of_row, heads, head_dim, eps);
  kernels::rope_row(heads_of_row, head_dim, f32(angles.cos) + row * half, f32(angles.sin) + row * half, 1.0F,
                    heads_of_row, heads, half);
}

}  // namespace

void rotate_and_append(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const HeadNorms& norms,
                       const RopeAngles& angles, const PagedBatch& batch, const PagedKv& kv) {
  check_attention(q, kv, batch, nullptr);
  check_rows(k, v, kv);
  TL_CHECK(k.size(0) == q.size(0) && k.scalar_type() == q.scalar_type(), "q and k differ");
  TL_CHECK(angles.cos.size(0) == q.size(0) && 2 * angles.cos.size(1) == q.size(2), "rope: angles do not match q");
  for (const at::Tensor* norm : {&norms.q, &norms.k}) {
    TL_CHECK(!norm->defined() || (norm->numel() == q.size(2) && norm->scalar_type() == q.scalar_type()),
             "the norms of heads do not match q");
  }
  const bool bf16 = q.scalar_type() == at::kBFloat16;
  const Appender appender(kv, bf16);
  const auto* k_rows = static_cast<const std::byte*>(k.const_data_ptr());
  const auto* v_rows = static_cast<const std::byte*>(v.const_data_ptr());
  const int64_t row_bytes = 2 * appender.source_bytes() + q.size(1) * appender.head_bytes();
  parallel_for(0, q.size(0), rows_per_thread(row_bytes), [&](int64_t from, int64_t to) {
    const auto& begin = batch.row_begin;
    int64_t s = std::upper_bound(begin.begin(), begin.end(), from) - begin.begin() - 1;
    for (int64_t row = from; row < to; ++row) {
      while (row >= begin[s + 1]) ++s;
      const auto norm_and_turn = bf16 ? norm_and_rotate<uint16_t> : norm_and_rotate<float>;
      norm_and_turn(q, row, norms.q, norms.eps, angles);
      norm_and_turn(k, row, norms.k, norms.eps, angles);
      appender.append(batch, s, row, row + 1, k_rows, v_rows);
    }
  });
}

void paged_append(const at::Tensor& k, const at::Tensor& v, const PagedBatch& batch, const PagedKv& kv) {
  check_rows(k, v, kv);
  check_paged_batch(kv, batch, k.size(0));
  const Appender appender(kv, k.scalar_type() == at::kBFloat16);
  const std::byte* k_rows = static_cast<const std::byte*>(k.data_ptr());
  const std::byte* v_rows = static_cast<const std::byte*>(v.data_ptr());
  for (int64_t s = 0; s < batch.seqs(); ++s) {
    parallel_for(batch.row_begin[s], batch.row_begin[s + 1], rows_per_thread(2 * appender.source_bytes()),
                 [&](int64_t from, int64_t to) { appender.append(batch, s, from, to, k_rows, v_rows); });
  }
}

void paged_append(const float* k, const float* v, const PagedRows& rows, const PagedKv& kv) {
  const Appender appender(kv, /*bf16=*/false);
  const PagedBatch& batch = *rows.batch;
  const int64_t before = batch.row_begin[rows.from] * appender.source_bytes();
  for (int64_t s = rows.from; s < rows.to; ++s) {
    appender.append(batch, s, batch.row_begin[s], batch.row_begin[s + 1],
                    reinterpret_cast<const std::byte*>(k) - before, reinterpret_cast<const std::byte*>(v) - before);
  }
}

void paged_attention(const float* q, const PagedRows& rows, const PagedKv& kv, double scale, float* out) {
  cpu::paged_attention(q, rows, kv, scale, out);
}

at::Tensor paged_attention(const at::Tensor& q, const PagedKv& kv, const PagedBatch& batch, double scale,
                           AttentionProbe* probe, NumericMode mode, const at::Tensor& into) {
  check_attention(q, kv, batch, probe);
  at::Tensor out = into.defined() ? into : at::empty_like(q);
  TL_CHECK(out.sizes() == q.sizes() && out.scalar_type() == q.scalar_type() && out.is_contiguous(),
           "the result does not match q");
  cpu::paged_attention(q, kv, batch, scale, probe, mode, out);
  return out;
}

at::Tensor paged_attention_column_sums(const at::Tensor& q, const at::Tensor& lse, const PagedKv& kv,
                                       const PagedBatch& batch, int32_t seq, double scale, const at::Tensor& into) {
  check_attention(q, kv, batch, nullptr);
  TL_CHECK(seq >= 0 && seq < batch.seqs(), "no such sequence");
  TL_CHECK(lse.sizes() == q.sizes().slice(0, 2) && lse.scalar_type() == at::kFloat && lse.is_contiguous(),
           "lse is fp32 [rows, q_heads]");
  const int64_t kv_heads = kv.kv_heads();
  const int32_t* lengths = batch.lengths.data() + seq * kv_heads;
  const int64_t longest = *std::max_element(lengths, lengths + kv_heads);
  at::Tensor sums = into.defined() ? into : at::zeros({kv_heads, longest}, at::kFloat);
  require_cpu(sums, "the column sums");
  TL_CHECK(sums.dim() == 2 && sums.size(0) == kv_heads && sums.size(1) >= longest && sums.stride(1) == 1 &&
               sums.scalar_type() == at::kFloat,
           "column sums are fp32 [kv_heads, length]");
  cpu::paged_attention_column_sums(q, lse, kv, batch, seq, scale, sums);
  return sums;
}

namespace {

// Calls row(head, i, slot) for every wanted slot i of every head, on all threads.
template <class Row>
void for_slots(const PageLayout& layout, const std::vector<int32_t>& pages, const at::Tensor& slots, const Row& row) {
  require_cpu(slots, "slots");
  check_pages(layout, pages);
  TL_CHECK(slots.dim() == 2 && slots.scalar_type() == at::kLong && slots.is_contiguous() &&
               (slots.size(0) == 1 || slots.size(0) == layout.kv_heads),
           "slots is int64 [kv_heads or 1, n]");
  const int64_t count = slots.size(1), capacity = static_cast<int64_t>(pages.size()) * layout.page_tokens;
  const int64_t* wanted = slots.data_ptr<int64_t>();
  for (int64_t i = 0; i < slots.numel(); ++i) TL_CHECK(wanted[i] >= 0 && wanted[i] < capacity, "a slot has no page");
  parallel_for(0, layout.kv_heads * count, rows_per_thread(layout.row_bytes()), [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      const int64_t head = i / count;
      row(head, i, wanted[slots.size(0) == 1 ? i % count : i]);
    }
  });
}

}  // namespace

at::Tensor gather_slots(const PagedKv& kv, KvSide side, const std::vector<int32_t>& pages, const at::Tensor& slots,
                        const at::Tensor& into) {
  const PageLayout layout = PageLayout::of(kv, side);
  const int64_t count = slots.size(1), head_dim = layout.head_dim;
  at::Tensor out = into.defined() ? into : at::empty({layout.kv_heads, count, head_dim}, at::kFloat);
  const bool as_they_lie = layout.bf16 ? out.scalar_type() == at::kBFloat16 : !layout.int8;
  TL_CHECK(out.is_contiguous() && out.sizes() == at::IntArrayRef({layout.kv_heads, count, head_dim}) &&
               (out.scalar_type() == at::kFloat || (layout.bf16 && as_they_lie)),
           "slots are gathered into fp32, or the pool's own bf16 [kv_heads, n, head_dim]");
  auto* bytes = static_cast<std::byte*>(out.data_ptr());
  const int64_t out_row_bytes = head_dim * out.element_size();
  const cpu::AttentionKernels attention = cpu::attention_kernels();
  const auto widen = side == KvSide::kKeys ? attention.widen_key : attention.widen_value;
  for_slots(layout, pages, slots, [&](int64_t head, int64_t i, int64_t slot) {
    const std::byte* row = layout.row(pages.data(), head, slot);
    auto* target = reinterpret_cast<float*>(bytes + i * out_row_bytes);
    if (as_they_lie) {
      std::memcpy(target, row, out_row_bytes);
    } else if (layout.int8) {
      widen(row, slot % layout.tile.tokens, layout.scale_value(pages.data(), head, slot), head_dim, target);
    } else {
      kernels::to_float(reinterpret_cast<const uint16_t*>(row), target, head_dim);
    }
  });
  return out;
}

void gather_int8_keys(const PagedKv& kv, const std::vector<int32_t>& pages, const at::Tensor& slots,
                      const at::Tensor& numbers, const at::Tensor& scales) {
  const PageLayout layout = PageLayout::of(kv, KvSide::kKeys);
  const std::array<int64_t, 3> sizes = {layout.kv_heads, slots.size(1), layout.head_dim};
  TL_CHECK(layout.int8 && numbers.scalar_type() == at::kBFloat16 && numbers.is_contiguous() &&
               numbers.sizes() == at::IntArrayRef(sizes) && scales.scalar_type() == at::kFloat &&
               scales.is_contiguous() && scales.sizes() == at::IntArrayRef(sizes).slice(0, 2),
           "an int8 pool's keys are gathered into bf16 [kv_heads, n, head_dim] and fp32 [kv_heads, n]");
  auto* out = static_cast<uint16_t*>(numbers.data_ptr());
  auto* scale = scales.data_ptr<float>();
  const auto key_numbers = cpu::attention_kernels().key_numbers;
  for_slots(layout, pages, slots, [&](int64_t head, int64_t i, int64_t slot) {
    key_numbers(layout.row(pages.data(), head, slot), slot % layout.tile.tokens, layout.head_dim,
                out + i * layout.head_dim);
    scale[i] = layout.scale_value(pages.data(), head, slot);
  });
}

void move_slots(const PagedKv& kv, const std::vector<int32_t>& pages, const std::vector<SlotMove>& moves) {
  const PageLayout k_pages = PageLayout::of(kv, KvSide::kKeys), v_pages = PageLayout::of(kv, KvSide::kValues);
  check_pages(k_pages, pages);
  const int64_t row_bytes = k_pages.row_bytes();
  const int64_t capacity = static_cast<int64_t>(pages.size()) * k_pages.page_tokens;
  // Of each head, where its first and last moves stand: an event's come head by head.
  std::vector<std::pair<size_t, size_t>> ranges(kv.kv_heads(), {moves.size(), 0});
  for (size_t i = 0; i < moves.size(); ++i) {
    const SlotMove& move = moves[i];
    TL_CHECK(move.from >= 0 && move.from < capacity && move.to >= 0 && move.to < capacity, "a slot has no page");
    TL_CHECK(move.head < kv.kv_heads(), "no such KV head");
    const int64_t first = std::max(0, move.head), last = move.head < 0 ? kv.kv_heads() - 1 : first;
    for (int64_t head = first; head <= last; ++head) ranges[head] = {std::min(ranges[head].first, i), i + 1};
  }
  const int64_t per_head = static_cast<int64_t>(moves.size()) * row_bytes;
  const int64_t grain = per_head * kv.kv_heads() < kCopyGrainBytes ? kv.kv_heads() : 1;
  parallel_for(0, kv.kv_heads(), grain, [&](int64_t from, int64_t to) {
    for (int64_t head = from; head < to; ++head) {
      for (size_t i = ranges[head].first; i < ranges[head].second; ++i) {
        const SlotMove& move = moves[i];
        if ((move.head >= 0 && move.head != head) || move.from == move.to) continue;
        move_row(k_pages, pages.data(), head, move.from, move.to);
        move_row(v_pages, pages.data(), head, move.from, move.to);
      }
    }
  });
}

}  // namespace throughline::ops

// The definition of paged attention in plain loops, double accumulation.
#include <ATen/ops/empty_like.h>
#include <c10/util/BFloat16.h>

#include <cmath>

#include "ops/paged_attention.h"
#include "ops/paged_layout.h"

namespace throughline::ops {
namespace {

double element(const PageLayout& pages, const std::byte* row, int64_t slot, int64_t index) {
  if (pages.int8)
    return static_cast<int8_t>(row[pages.tile.offset(slot % pages.tile.tokens, index)] ^ pages.tile.flipped);
  return pages.bf16 ? static_cast<float>(reinterpret_cast<const c10::BFloat16*>(row)[index])
                    : reinterpret_cast<const float*>(row)[index];
}

double element(const void* data, bool bf16, int64_t index) {
  return bf16 ? static_cast<float>(static_cast<const c10::BFloat16*>(data)[index])
              : static_cast<const float*>(data)[index];
}

void store(void* data, bool bf16, int64_t index, double value) {
  if (bf16) {
    static_cast<c10::BFloat16*>(data)[index] = static_cast<float>(value);
  } else {
    static_cast<float*>(data)[index] = static_cast<float>(value);
  }
}

}  // namespace

at::Tensor paged_attention_reference(const at::Tensor& q, const PagedKv& kv, const PagedBatch& batch, double scale,
                                     AttentionProbe* probe) {
  check_attention(q, kv, batch, probe);
  const PageLayout k_pages = PageLayout::of(kv, KvSide::kKeys), v_pages = PageLayout::of(kv, KvSide::kValues);
  const int64_t q_heads = q.size(1), head_dim = q.size(2), kv_heads = kv.kv_heads(), group = q_heads / kv_heads;
  const bool q_bf16 = q.scalar_type() == at::kBFloat16;
  at::Tensor out = at::empty_like(q);
  std::vector<double> scores, sums(head_dim);
  for (int64_t s = 0; s < batch.seqs(); ++s) {
    const int32_t* table = batch.page_table.data() + s * batch.max_pages;
    for (int64_t row = batch.row_begin[s]; row < batch.row_begin[s + 1]; ++row) {
      for (int64_t head = 0; head < q_heads; ++head) {
        const int64_t kv_head = head / group;
        const int64_t slots = batch.lengths[s * kv_heads + kv_head] - (batch.row_begin[s + 1] - 1 - row);
        const int64_t q_begin = (row * q_heads + head) * head_dim;
        scores.assign(slots, 0);
        double highest = -INFINITY;
        for (int64_t slot = 0; slot < slots; ++slot) {
          const std::byte* k = k_pages.row(table, kv_head, slot);
          for (int64_t d = 0; d < head_dim; ++d) {
            scores[slot] += element(q.data_ptr(), q_bf16, q_begin + d) * element(k_pages, k, slot, d);
          }
          scores[slot] *= scale * k_pages.scale_value(table, kv_head, slot);
          highest = std::max(highest, scores[slot]);
        }
        double total = 0;
        sums.assign(head_dim, 0);
        for (int64_t slot = 0; slot < slots; ++slot) {
          const double weight = std::exp(scores[slot] - highest);
          const double value_scale = v_pages.scale_value(table, kv_head, slot);
          const std::byte* v = v_pages.row(table, kv_head, slot);
          total += weight;
          for (int64_t d = 0; d < head_dim; ++d) sums[d] += weight * value_scale * element(v_pages, v, slot, d);
        }
        for (int64_t d = 0; d < head_dim; ++d) store(out.data_ptr(), q_bf16, q_begin + d, sums[d] / total);
        if (probe == nullptr) continue;
        if (probe->lse.defined()) store(probe->lse.data_ptr(), false, row * q_heads + head, highest + std::log(total));
        if (!probe->logits.empty() && probe->logits[s].defined()) {
          for (int64_t slot = 0; slot < slots; ++slot) {
            store(probe->logits[s].data_ptr(), false, head * slots + slot, scores[slot]);
          }
        }
      }
    }
  }
  return out;
}

}  // namespace throughline::ops

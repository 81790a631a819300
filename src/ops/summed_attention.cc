#include "ops/summed_attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "base/result.h"
#include "ops/cpu/pair_product.h"
#include "ops/cpu/thread_tasks.h"
#include "ops/linear.h"
#include "ops/parallel.h"
#include "ops/row_kernels.h"

namespace throughline::ops {
namespace {

using Rows = std::span<const int64_t>;

constexpr int64_t kRowBlock = 32;            // rows whose logits are held at once: of 8K keys a MiB a query head
constexpr int64_t kPanel = 32;               // keys packed at a time
constexpr int64_t kWorkPerThread = 1 << 14;  // logits below which a second thread costs more than it saves

struct Shape {
  int64_t group, kv_heads, n, head_dim;
  GroupVote vote;
  int64_t heads_out() const { return vote == GroupVote::kEach ? group : 1; }  // a KV head
};

// The rows of one KV head's queries, rounded to T: out [group * rows, head_dim].
template <class T>
void take_queries(const float* queries, Rows rows, const Shape& s, int64_t head, T* out) {
  for (int64_t g = 0; g < s.group; ++g) {
    for (const int64_t row : rows) {
      const float* query = queries + ((row * s.kv_heads + head) * s.group + g) * s.head_dim;
      out = std::transform(query, query + s.head_dim, out, [](float x) { return T(x); });
    }
  }
}

// The logits of n keys from `first` on, if they have scales, times these.
void scale_columns(const at::Tensor& key_scales, int64_t head, int64_t first, int64_t rows, int64_t n, int64_t stride,
                   float* logits) {
  if (!key_scales.defined()) return;
  const float* scales = key_scales.const_data_ptr<float>() + head * key_scales.stride(0) + first;
  for (int64_t row = 0; row < rows; ++row, logits += stride) {
    for (int64_t i = 0; i < n; ++i) logits[i] *= scales[i];
  }
}

// logits [group, block, stride] of one KV head's rows, in their order -> votes [heads_out, n].
void vote_on(const Shape& s, int64_t block, int64_t stride, float scale, float* logits, float* votes) {
  for (int64_t g = s.heads_out(); g < s.group; ++g) {
    const float* other = logits + g * block * stride;
    for (int64_t i = 0; i < block * stride; ++i) logits[i] = std::max(logits[i], other[i]);
  }
  for (int64_t i = 0; i < s.heads_out() * block; ++i) {
    float* weights = logits + i * stride;
    float* sums = votes + i / block * s.n;
    const float share = 1 / kernels::softmax_weights(weights, s.n, kernels::largest(weights, s.n), scale, weights);
    for (int64_t n = 0; n < s.n; ++n) sums[n] += weights[n] * share;
  }
}

// Whole KV heads are tasks; keys are packed in panels, each multiplied with all queries of the block.
void from_bf16(const at::Tensor& queries, Rows rows, const at::Tensor& keys, const at::Tensor& key_scales, float scale,
               const Shape& s, float* votes) {
  const auto* all = queries.const_data_ptr<float>();
  const auto* first_key = static_cast<const uint16_t*>(keys.const_data_ptr());
  const int64_t head_step = keys.stride(0), row_step = keys.stride(1), words = s.head_dim / 2;
  const int64_t stride = (s.n + kPanel - 1) / kPanel * kPanel, count = static_cast<int64_t>(rows.size());
  const cpu::PairProduct product = cpu::pair_product();
  const bool alone = s.group * count * s.n * s.kv_heads < kWorkPerThread;
  parallel_for(0, s.kv_heads, alone ? s.kv_heads : 1, [&](int64_t from, int64_t to) {
    static thread_local cpu::FloatBuffer logits_buffer, query_buffer, panel_buffer;
    float* logits = logits_buffer.at_least(s.group * kRowBlock * stride);
    auto* q = reinterpret_cast<uint32_t*>(query_buffer.at_least(s.group * kRowBlock * words));
    auto* panel = reinterpret_cast<uint32_t*>(panel_buffer.at_least(kPanel * words));
    for (int64_t head = from; head < to; ++head) {
      for (int64_t begin = 0; begin < count; begin += kRowBlock) {
        const int64_t block = std::min(kRowBlock, count - begin);
        take_queries(all, rows.subspan(begin, block), s, head, reinterpret_cast<c10::BFloat16*>(q));
        for (int64_t slot = 0; slot < s.n; slot += kPanel) {
          const int64_t used = std::min(kPanel, s.n - slot);
          const uint16_t* keys_of[kPanel];
          for (int64_t i = 0; i < used; ++i) keys_of[i] = first_key + head * head_step + (slot + i) * row_step;
          cpu::pack_pairs_across(keys_of, used, s.head_dim, panel, kPanel);
          product(q, words, 1, panel, kPanel, words, logits + slot, stride, s.group * block, kPanel / 16,
                  /*add=*/false);
          scale_columns(key_scales, head, slot, s.group * block, used, stride, logits + slot);
        }
        vote_on(s, block, stride, scale, logits, votes + head * s.heads_out() * s.n);
      }
    }
  });
}

void from_fp32(const at::Tensor& queries, Rows rows, const at::Tensor& keys, const at::Tensor& key_scales, float scale,
               const Shape& s, float* votes) {
  const int64_t count = static_cast<int64_t>(rows.size());
  for (int64_t begin = 0; begin < count; begin += kRowBlock) {
    const int64_t block = std::min(kRowBlock, count - begin);
    const at::Tensor q = at::empty({s.group * block, s.head_dim}, at::kFloat);
    std::vector<at::Tensor> products;  // a KV head's [group * block, n]
    for (int64_t head = 0; head < s.kv_heads; ++head) {
      take_queries(queries.const_data_ptr<float>(), rows.subspan(begin, block), s, head, q.data_ptr<float>());
      products.push_back(linear(q, keys[head].contiguous(), {}, NumericMode::kExact));
    }
    const bool alone = s.group * block * s.n * s.kv_heads < kWorkPerThread;
    parallel_for(0, s.kv_heads, alone ? s.kv_heads : 1, [&](int64_t from, int64_t to) {
      for (int64_t head = from; head < to; ++head) {
        float* logits = products[head].data_ptr<float>();
        scale_columns(key_scales, head, 0, s.group * block, s.n, s.n, logits);
        vote_on(s, block, s.n, scale, logits, votes + head * s.heads_out() * s.n);
      }
    });
  }
}

}  // namespace

at::Tensor summed_attention(const at::Tensor& queries, Rows rows, const at::Tensor& keys, double scale, GroupVote vote,
                            const at::Tensor& key_scales) {
  TL_CHECK(!key_scales.defined() || (key_scales.scalar_type() == at::kFloat &&
                                     key_scales.sizes() == keys.sizes().slice(0, 2) && key_scales.stride(1) == 1),
           "key_scales is fp32 [kv_heads, n]");
  TL_CHECK(queries.dim() == 3 && queries.scalar_type() == at::kFloat && queries.is_contiguous() && keys.dim() == 3 &&
               keys.stride(2) == 1 && queries.size(2) == keys.size(2) && queries.size(1) % keys.size(0) == 0,
           "queries fp32 [rows, q_heads, head_dim], keys [kv_heads, n, head_dim]");
  const Shape s = {queries.size(1) / keys.size(0), keys.size(0), keys.size(1), keys.size(2), vote};
  at::Tensor votes = at::empty({s.kv_heads * s.heads_out(), s.n}, at::kFloat);
  // Not by ATen, here and in the callers: its threads, once awake, would take the cores from the pool's.
  std::fill_n(votes.data_ptr<float>(), votes.numel(), 0.0F);
  if (s.n == 0) return votes;
  const bool pairs = keys.scalar_type() == at::kBFloat16 && s.head_dim % 2 == 0 && cpu::pair_product() != nullptr;
  if (pairs) {
    from_bf16(queries, rows, keys, key_scales, static_cast<float>(scale), s, votes.data_ptr<float>());
  } else {
    from_fp32(queries, rows, keys.to(at::kFloat), key_scales, static_cast<float>(scale), s, votes.data_ptr<float>());
  }
  return votes;
}

at::Tensor summed_attention_reference(const at::Tensor& queries, Rows rows, const at::Tensor& keys, double scale,
                                      GroupVote vote) {
  const at::Tensor named = queries.index_select(0, at::tensor(rows, at::kLong)).to(at::kDouble);  // [rows, q_heads, d]
  const int64_t kv_heads = keys.size(0), group = queries.size(1) / kv_heads;
  std::vector<at::Tensor> out;
  for (int64_t head = 0; head < kv_heads; ++head) {
    const at::Tensor q = named.narrow(1, head * group, group).transpose(0, 1);                 // [group, rows, d]
    at::Tensor logits = at::matmul(q, keys[head].to(at::kDouble).transpose(0, 1)).mul(scale);  // [group, rows, n]
    if (vote == GroupVote::kMaxLogits) logits = logits.amax(0, /*keepdim=*/true);
    out.push_back(at::softmax(logits, -1).sum(1));
  }
  return at::cat(out).to(at::kFloat);
}

}  // namespace throughline::ops

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "base/result.h"
#include "ops/packed_attention.h"

namespace throughline::ops {
namespace {

constexpr int64_t kTileQueries = 128;

// One row's tensors in fp32, heads first; K and V repeated for the query heads of their group.
struct RowView {
  int64_t begin = 0, tokens = 0, groups = 1;
  at::Tensor k, v;        // [q_heads, tokens, head_dim]
  at::Tensor evicted_at;  // [q_heads or 1, 1, tokens], or undefined
};

at::Tensor heads_first(const at::Tensor& x, int64_t begin, int64_t tokens) {
  return x.narrow(0, begin, tokens).to(at::kFloat).transpose(0, 1);
}

RowView row_view(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PackedRows& rows, int64_t row) {
  RowView out;
  out.begin = rows.row_begin[row];
  out.tokens = rows.row_begin[row + 1] - out.begin;
  out.groups = q.size(1) / k.size(1);
  out.k = heads_first(k, out.begin, out.tokens).repeat_interleave(out.groups, 0);
  out.v = heads_first(v, out.begin, out.tokens).repeat_interleave(out.groups, 0);
  if (!rows.evicts_in(row)) return out;
  out.evicted_at = rows.evicted_at.narrow(1, out.begin, out.tokens).unsqueeze(1);
  if (out.evicted_at.size(0) > 1) out.evicted_at = out.evicted_at.repeat_interleave(out.groups, 0);
  return out;
}

// Scores of queries [from, from + count) of a row against the keys up to the last of them; -inf where unseen.
at::Tensor masked_scores(const RowView& row, const at::Tensor& queries, int64_t from, int64_t count, double scale) {
  const int64_t keys = from + count;
  const at::Tensor scores = at::matmul(queries, row.k.narrow(1, 0, keys).transpose(1, 2)).mul(scale);
  const auto options = scores.options().dtype(at::kInt);
  const at::Tensor t = at::arange(from, keys, options).unsqueeze(1);  // [count, 1]
  at::Tensor unseen = at::arange(keys, options).unsqueeze(0).gt(t);
  if (row.evicted_at.defined()) unseen = unseen.logical_or(row.evicted_at.narrow(2, 0, keys).le(t));
  return scores.masked_fill(unseen, -std::numeric_limits<float>::infinity());
}

}  // namespace

void check_packed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PackedRows& rows) {
  TL_CHECK(q.dim() == 3 && k.dim() == 3 && k.sizes() == v.sizes() && q.size(0) == k.size(0) && q.size(2) == k.size(2),
           "packed attention: q is [tokens, q_heads, head_dim], k and v [tokens, kv_heads, head_dim]");
  TL_CHECK(k.size(1) > 0 && q.size(1) % k.size(1) == 0, "packed attention: q_heads is not a multiple of kv_heads");
  TL_CHECK(q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type() &&
               (q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16),
           "packed attention: fp32 or bf16, all of one dtype");
  TL_CHECK(rows.row_begin.size() >= 2 && rows.row_begin.front() == 0 && rows.row_begin.back() == q.size(0) &&
               std::is_sorted(rows.row_begin.begin(), rows.row_begin.end()),
           "packed attention: row_begin does not cover the tokens");
  TL_CHECK(rows.evicts.empty() || static_cast<int64_t>(rows.evicts.size()) == rows.rows(),
           "packed attention: evicts has one entry a row");
  if (rows.evicts.empty()) return;
  const at::Tensor& at = rows.evicted_at;
  TL_CHECK(at.defined() && at.dim() == 2 && at.scalar_type() == at::kInt && at.is_contiguous() &&
               (at.size(0) == 1 || at.size(0) == k.size(1)) && at.size(1) == q.size(0),
           "packed attention: evicted_at is int32 [kv_heads or 1, tokens]");
}

at::Tensor packed_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const PackedRows& rows, double scale, at::Tensor* lse) {
  check_packed(q, k, v, rows);
  at::Tensor out = at::empty(q.sizes(), q.options());
  at::Tensor sums = at::empty({q.size(0), q.size(1)}, q.options().dtype(at::kFloat));
  for (int64_t r = 0; r < rows.rows(); ++r) {
    const RowView row = row_view(q, k, v, rows, r);
    for (int64_t from = 0; from < row.tokens; from += kTileQueries) {
      const int64_t count = std::min(kTileQueries, row.tokens - from);
      const at::Tensor scores =
          masked_scores(row, heads_first(q, row.begin + from, count), from, count, scale);  // [q_heads, count, keys]
      const at::Tensor tile_lse = scores.logsumexp(-1);
      const at::Tensor weights = scores.sub(tile_lse.unsqueeze(-1)).exp();
      const at::Tensor tile = at::matmul(weights, row.v.narrow(1, 0, from + count));
      out.narrow(0, row.begin + from, count).copy_(tile.transpose(0, 1));
      sums.narrow(0, row.begin + from, count).copy_(tile_lse.transpose(0, 1));
    }
  }
  if (lse != nullptr) *lse = sums;
  return out;
}

// With p = exp(s - lse), g = grad_out: dv = p^T g, dp = g v^T, ds = p (dp - sum(g out)) scale, dq = ds k, dk = ds^T q.
PackedAttentionGrads packed_attention_backward_reference(const at::Tensor& grad_out, const at::Tensor& q,
                                                         const at::Tensor& k, const at::Tensor& v,
                                                         const at::Tensor& out, const at::Tensor& lse,
                                                         const PackedRows& rows, double scale) {
  check_packed(q, k, v, rows);
  PackedAttentionGrads grads{at::empty(q.sizes(), q.options()), at::empty(k.sizes(), k.options()),
                             at::empty(v.sizes(), v.options())};
  for (int64_t r = 0; r < rows.rows(); ++r) {
    const RowView row = row_view(q, k, v, rows, r);
    if (row.tokens == 0) continue;
    at::Tensor grad_k = at::zeros(row.k.sizes(), row.k.options()), grad_v = at::zeros(row.v.sizes(), row.v.options());
    for (int64_t from = 0; from < row.tokens; from += kTileQueries) {
      const int64_t count = std::min(kTileQueries, row.tokens - from), keys = from + count, first = row.begin + from;
      const at::Tensor queries = heads_first(q, first, count), grad = heads_first(grad_out, first, count);
      const at::Tensor tile_lse = lse.narrow(0, first, count).transpose(0, 1).unsqueeze(-1);
      const at::Tensor weights = masked_scores(row, queries, from, count, scale).sub(tile_lse).exp();
      const at::Tensor along = grad.mul(heads_first(out, first, count)).sum(-1, true);
      const at::Tensor grad_weights = at::matmul(grad, row.v.narrow(1, 0, keys).transpose(1, 2));
      const at::Tensor grad_scores = weights.mul(grad_weights.sub(along)).mul(scale);
      grads.q.narrow(0, first, count).copy_(at::matmul(grad_scores, row.k.narrow(1, 0, keys)).transpose(0, 1));
      grad_k.narrow(1, 0, keys).add_(at::matmul(grad_scores.transpose(1, 2), queries));
      grad_v.narrow(1, 0, keys).add_(at::matmul(weights.transpose(1, 2), grad));
    }
    const auto fold = [&](const at::Tensor& grad) {  // sum over the query heads of a group
      return grad.reshape({k.size(1), row.groups, row.tokens, k.size(2)}).sum(1).transpose(0, 1);
    };
    grads.k.narrow(0, row.begin, row.tokens).copy_(fold(grad_k));
    grads.v.narrow(0, row.begin, row.tokens).copy_(fold(grad_v));
  }
  return grads;
}

}  // namespace throughline::ops

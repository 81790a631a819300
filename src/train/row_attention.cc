#include "train/row_attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <numeric>

#include "ops/autograd.h"
#include "ops/packed_attention.h"
#include "ops/rope.h"
#include "train/row_replay.h"

namespace throughline {
namespace {

struct PackLayout {
  std::vector<PackedRow> rows;
  std::vector<int64_t> row_begin;  // [rows + 1]
  int64_t layers = 0, kv_heads = 0;

  int64_t tokens() const { return row_begin.back(); }
  // Who sees whom in one layer.
  ops::PackedRows masks(int64_t layer) const;
};

bool matters(const EvictionRecord& record, const PackedRow& row) {
  return record.gone > 0 && record.tokens < row.tokens;
}

ops::PackedRows PackLayout::masks(int64_t layer) const {
  ops::PackedRows out;
  out.row_begin = row_begin;
  int64_t sets = 0;  // of the layer; a pack may hold rows of several policies
  for (const PackedRow& row : rows) {
    for (size_t i = 0; row.evictions != nullptr && i < row.evictions->size(); ++i) {
      const EvictionRecord& record = (*row.evictions)[i];
      if (matters(record, row)) sets = std::max(sets, sets_of_record(record, layers, kv_heads));
    }
  }
  if (sets == 0) return out;
  out.evicts.assign(rows.size(), 0);
  out.evicted_at = at::full({sets, tokens()}, ops::kNeverEvicted, at::kInt);
  int32_t* at = out.evicted_at.data_ptr<int32_t>();
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; rows[r].evictions != nullptr && i < rows[r].evictions->size(); ++i) {
      const EvictionRecord& record = (*rows[r].evictions)[i];
      if (!matters(record, rows[r])) continue;
      out.evicts[r] = 1;
      const int64_t own = sets_of_record(record, layers, kv_heads);
      for (int64_t set = 0; set < sets; ++set) {
        int32_t* positions = at + set * tokens() + row_begin[r];
        for (const int32_t position : record.evicted_of(layer * own + (own == 1 ? 0 : set))) {
          TL_CHECK(position >= 0 && position < record.tokens && positions[position] == ops::kNeverEvicted,
                   "an eviction record names a token that was not cached");
          positions[position] = static_cast<int32_t>(record.tokens);
        }
      }
    }
  }
  return out;
}

// Every row counts its positions from 0, so the longest row's angles serve all.
ops::RopeAngles restarting_angles(const ops::RopeFrequencies& frequencies, const std::vector<PackedRow>& rows,
                                  int64_t longest) {
  std::vector<int64_t> positions(longest);
  std::iota(positions.begin(), positions.end(), 0);
  const ops::RopeAngles all = ops::rope_angles(frequencies, positions, at::kCPU);
  std::vector<at::Tensor> cos, sin;
  for (const PackedRow& row : rows) {
    cos.push_back(all.cos.narrow(0, 0, row.tokens));
    sin.push_back(all.sin.narrow(0, 0, row.tokens));
  }
  return {at::cat(cos), at::cat(sin)};
}

}  // namespace

struct RowAttention::State {
  PackLayout layout;
  ops::RopeAngles angles;
  double scale = 1;
  ops::NumericMode mode = ops::NumericMode::kFast;
  std::unique_ptr<RowReplay> replay;  // made at the first exact layer

  at::Tensor exact(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::Tensor* lse);
};

RowAttention::RowAttention(const Decoder& decoder, std::vector<PackedRow> rows, ops::NumericMode mode)
    : state_(std::make_unique<State>()) {
  TL_CHECK(!rows.empty(), "a pack without rows");
  const ModelConfig& config = decoder.config();
  PackLayout& layout = state_->layout;
  layout.layers = config.layers;
  layout.kv_heads = config.kv_heads;
  layout.row_begin = {0};
  int64_t longest = 0;
  for (const PackedRow& row : rows) {
    TL_CHECK(row.tokens >= 0, "a row of fewer than no tokens");
    layout.row_begin.push_back(layout.row_begin.back() + row.tokens);
    longest = std::max(longest, row.tokens);
  }
  layout.rows = std::move(rows);
  state_->angles = restarting_angles(decoder.rope(), layout.rows, longest);
  state_->scale = decoder.attention_scale();
  state_->mode = mode;
}

RowAttention::~RowAttention() = default;

at::Tensor RowAttention::State::exact(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      at::Tensor* lse) {
  if (!replay) {
    int64_t longest = 0;
    for (const PackedRow& row : layout.rows) longest = std::max(longest, row.tokens);
    replay =
        std::make_unique<RowReplay>(layout.layers, q.size(1), k.size(1), q.size(2), q.scalar_type(), longest, scale);
  }
  at::Tensor out = at::empty(q.sizes(), q.options());
  if (lse != nullptr) *lse = at::empty({q.size(0), q.size(1)}, q.options().dtype(at::kFloat));
  for (size_t r = 0; r < layout.rows.size(); ++r) {
    const int64_t begin = layout.row_begin[r], tokens = layout.rows[r].tokens;
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, begin, tokens); };
    replay->attend(layer, part(q), part(k), part(v), layout.rows[r].evictions, part(out),
                   lse != nullptr ? part(*lse) : at::Tensor());
  }
  return out;
}

at::Tensor RowAttention::attend(int layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  State& s = *state_;
  TL_CHECK(q.size(0) == s.layout.tokens() && k.size(1) == s.layout.kv_heads && layer < s.layout.layers,
           "the rows of the pack do not match the batch");
  const at::Tensor queries = ops::rope(q, s.angles), keys = ops::rope(k, s.angles), values = v.contiguous();
  const auto run = [&](const at::Tensor& rq, const at::Tensor& rk, const at::Tensor& rv, const ops::PackedRows& rows,
                       at::Tensor* lse) {
    if (s.mode == ops::NumericMode::kExact) return s.exact(layer, rq, rk, rv, lse);
    return ops::packed_attention(rq, rk, rv, rows, s.scale, lse);
  };
  const auto rows = std::make_shared<const ops::PackedRows>(s.layout.masks(layer));
  if (!ops::needs_grad({&queries, &keys, &values})) return run(queries, keys, values, *rows, nullptr);
  const auto forward = [&](ops::Tensors& saved) -> ops::Tensors {
    at::Tensor lse;
    at::Tensor out = run(queries, keys, values, *rows, &lse);
    saved = {queries, keys, values, out, lse};
    return {out};
  };
  const auto backward = [rows, scale = s.scale](const ops::NodeSlopes& node) -> ops::Tensors {
    const ops::Tensors& kept = node.saved;
    auto slopes = ops::packed_attention_backward(node.grads[0].contiguous(), kept[0], kept[1], kept[2], kept[3],
                                                 kept[4], *rows, scale);
    return {slopes.q, slopes.k, slopes.v};
  };
  return ops::differentiable({queries, keys, values}, forward, backward).front();
}

Status check_trainable(const EvictionPolicy* policy, const std::string& where) {
  if (policy == nullptr || !policy->needs().unrotated_keys) return {};
  return Error{
      policy->spec().to_string() + " cannot be trained on: it rotates keys anew at each read, which has no replay",
      where, "use rotate=true_position, or another policy"};
}

}  // namespace throughline

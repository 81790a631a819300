#include "cache/step_attention.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "cache/sequence_state.h"
#include "ops/autograd.h"

namespace throughline {
namespace {

ops::PagedBatch single_batch(const std::vector<int32_t>& pages, int32_t rows, int32_t length, int64_t kv_heads) {
  ops::PagedBatch batch;
  batch.row_begin = {0, rows};
  batch.page_table = pages;
  batch.max_pages = static_cast<int32_t>(pages.size());
  batch.lengths.assign(kv_heads, length);
  return batch;
}

std::vector<int64_t> counting(int64_t begin, int64_t count) {
  std::vector<int64_t> out(count);
  std::iota(out.begin(), out.end(), begin);
  return out;
}

}  // namespace

struct StepAttention::State {
  struct Member {
    SequenceCache::State* cache = nullptr;
    std::vector<TokenKind> kinds;
    int64_t first_row = 0, rows = 0;
    int64_t length = 0;  // slots in use after this step's rows
    bool wants_logits = false;
    ops::RopeAngles key_ranks, query_ranks;  // by place in the cache; only for unrotated keys
    bool unrotated() const { return cache->needs.unrotated_keys; }
  };

  std::vector<Member> members;
  ops::PagedBatch batch;
  ops::RopeAngles angles;
  double scale = 1;
  ops::NumericMode mode = ops::NumericMode::kExact;
  int64_t rows = 0;
  bool any_unrotated = false, any_sums = false, any_logits = false;

  void add(StepSequence sequence, SequenceCache::State* cache, std::vector<int64_t>* positions);
  void lay_out_pages();
  bool observed() const { return any_unrotated || any_sums || any_logits; }
  std::optional<ops::PagedBatch> last_rows(const at::Tensor& wanted) const;
  at::Tensor append_unrotated(const ops::HeadNorms& norms, const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const ops::PagedKv& kv) const;
  at::Tensor attend_by_rank(const Member& member, int layer, const at::Tensor& q) const;
  void observe(int layer, const at::Tensor& q, const ops::PagedKv& kv, const ops::AttentionProbe& probe);
};

void StepAttention::State::add(StepSequence sequence, SequenceCache::State* cache, std::vector<int64_t>* positions) {
  Member member;
  member.cache = cache;
  member.kinds = std::move(sequence.kinds);
  member.first_row = rows;
  member.rows = static_cast<int64_t>(member.kinds.size());
  member.length = cache->book.cached + member.rows;
  TL_CHECK(member.rows > 0, "a sequence without rows in a step");
  TL_CHECK(member.length <= static_cast<int64_t>(cache->pages.size()) * cache->page_tokens(),
           "a step without reserve()");
  member.wants_logits = cache->needs.step_attention && member.kinds.back() == TokenKind::kSampled;
  for (int64_t i = 0; i < member.rows; ++i) positions->push_back(cache->book.tokens + i);
  rows += member.rows;
  any_unrotated |= member.unrotated();
  any_sums |= cache->needs.attention_sums;
  any_logits |= member.wants_logits;
  cache->prepare_ring(member.kinds);
  members.push_back(std::move(member));
}

// The batch of `wanted` rows alone; nothing if these are not the last rows of their sequences.
std::optional<ops::PagedBatch> StepAttention::State::last_rows(const at::Tensor& wanted) const {
  ops::PagedBatch out = batch;
  const int64_t *row = wanted.const_data_ptr<int64_t>(), *const end = row + wanted.numel();
  for (size_t s = 0; s < members.size(); ++s) {
    const int64_t after = members[s].first_row + members[s].rows;
    int64_t count = 0;
    for (; row != end && *row < after; ++row, ++count) {
      if (count > 0 && *row != row[-1] + 1) return std::nullopt;
    }
    if (count > 0 && row[-1] != after - 1) return std::nullopt;
    out.row_begin[s + 1] = out.row_begin[s] + static_cast<int32_t>(count);
  }
  if (row != end) return std::nullopt;
  return out;
}

void StepAttention::State::lay_out_pages() {
  batch.row_begin.push_back(0);
  for (const Member& m : members) {
    batch.row_begin.push_back(static_cast<int32_t>(m.first_row + m.rows));
    batch.max_pages = std::max(batch.max_pages, static_cast<int32_t>(m.cache->pages.size()));
    batch.lengths.insert(batch.lengths.end(), m.cache->kv_heads(), static_cast<int32_t>(m.length));
  }
  batch.page_table.assign(members.size() * batch.max_pages, -1);
  for (size_t s = 0; s < members.size(); ++s) {
    std::copy(members[s].cache->pages.begin(), members[s].cache->pages.end(),
              batch.page_table.begin() + static_cast<int64_t>(s) * batch.max_pages);
  }
}

// Keys lie unrotated: a copy of the cache in position order, keys rotated by their rank, is attended instead. Slow and
// plain; the same reduction as everywhere, so a cache that never lost a token gives the same bits as `full`.
at::Tensor StepAttention::State::attend_by_rank(const Member& m, int layer, const at::Tensor& q) const {
  const SequenceCache::State& cache = *m.cache;
  const ops::PagedKv& kv = cache.pool->layer(layer);
  const int64_t page_tokens = cache.page_tokens(), pages = (m.length + page_tokens - 1) / page_tokens;
  at::Tensor slots = at::arange(m.length, at::kLong).reshape({1, m.length});
  const std::vector<int32_t>& order = cache.set_of(layer, 0)->order;
  std::copy(order.begin(), order.end(), slots.data_ptr<int64_t>());  // this step's rows follow in place
  const at::ScalarType dtype = kv.int8() ? q.scalar_type() : kv.k.scalar_type();
  const auto ordered = [&](ops::KvSide side) {  // [length, kv_heads, head_dim]
    return ops::gather_slots(kv, side, cache.pages, slots).transpose(0, 1).contiguous().to(dtype);
  };
  const auto paged = [&](const at::Tensor& tokens) {  // -> [pages, kv_heads, page_tokens, head_dim]
    at::Tensor out = at::zeros({pages * page_tokens, tokens.size(1), tokens.size(2)}, tokens.options());
    out.narrow(0, 0, m.length).copy_(tokens);
    return out.reshape({pages, page_tokens, tokens.size(1), tokens.size(2)}).transpose(1, 2).contiguous();
  };
  ops::PagedKv copy;
  copy.k = paged(ops::rope(ordered(ops::KvSide::kKeys), m.key_ranks));
  copy.v = paged(ordered(ops::KvSide::kValues));
  std::vector<int32_t> table(pages);
  std::iota(table.begin(), table.end(), 0);
  const auto batch =
      single_batch(table, static_cast<int32_t>(m.rows), static_cast<int32_t>(m.length), cache.kv_heads());
  return ops::paged_attention(ops::rope(q.narrow(0, m.first_row, m.rows), m.query_ranks), copy, batch, scale);
}

// What ops::rotate_and_append() does, but some sequences' keys go into their pages as they are; returns q before its
// rotation.
at::Tensor StepAttention::State::append_unrotated(const ops::HeadNorms& norms, const at::Tensor& q, const at::Tensor& k,
                                                  const at::Tensor& v, const ops::PagedKv& kv) const {
  if (norms.q.defined()) ops::rms_norm(q, norms.q, norms.eps, q);
  if (norms.k.defined()) ops::rms_norm(k, norms.k, norms.eps, k);
  const at::Tensor keys = ops::rope(k, angles), before = q.clone();
  for (const Member& m : members) {
    if (m.unrotated()) keys.narrow(0, m.first_row, m.rows).copy_(k.narrow(0, m.first_row, m.rows));
  }
  ops::paged_append(keys, v, batch, kv);
  q.copy_(ops::rope(q, angles));
  return before;
}

void StepAttention::State::observe(int layer, const at::Tensor& q, const ops::PagedKv& kv,
                                   const ops::AttentionProbe& probe) {
  for (size_t s = 0; s < members.size(); ++s) {
    const Member& m = members[s];
    const int64_t first = m.first_row * q.size(1) * q.size(2);
    if (q.scalar_type() == at::kFloat) {
      m.cache->keep_queries(layer, ops::f32(q) + first, m.kinds);
    } else {
      m.cache->keep_queries(layer, ops::bf16(q) + first, m.kinds);
    }
    if (m.cache->needs.attention_sums) {
      ops::paged_attention_column_sums(q, probe.lse, kv, batch, static_cast<int32_t>(s), scale,
                                       m.cache->sums_for(layer, m.length));
    }
    if (!m.wants_logits) continue;
    std::vector<at::Tensor>& kept = m.cache->step_logits;
    kept.resize(m.cache->layers());
    if (m.rows == 1) {
      kept[layer] = probe.logits[s];
      continue;
    }
    // The probe shows logits of single rows only; of a slice the policy wants the last row.
    ops::AttentionProbe last;
    last.logits = {at::empty({m.cache->q_heads, m.length}, at::kFloat)};
    const auto one = single_batch(m.cache->pages, 1, static_cast<int32_t>(m.length), m.cache->kv_heads());
    ops::paged_attention(q.narrow(0, m.first_row + m.rows - 1, 1), kv, one, scale, &last);
    kept[layer] = last.logits[0];
  }
}

StepAttention::StepAttention(std::vector<StepSequence> sequences, const ops::RopeFrequencies& frequencies, double scale,
                             ops::NumericMode mode)
    : state_(std::make_unique<State>()) {
  TL_CHECK(!sequences.empty(), "a step without sequences");
  std::vector<int64_t> positions;
  state_->members.reserve(sequences.size());
  for (StepSequence& sequence : sequences) {
    SequenceCache::State* cache = sequence.cache->state_.get();
    state_->add(std::move(sequence), cache, &positions);
  }
  const at::Device device = state_->members[0].cache->pool->shape().device;
  state_->scale = scale;
  state_->mode = mode;
  state_->angles = ops::rope_angles(frequencies, positions, device);
  state_->lay_out_pages();
  for (State::Member& m : state_->members) {
    if (!m.unrotated()) continue;
    m.key_ranks = ops::rope_angles(frequencies, counting(0, m.length), device);
    m.query_ranks = ops::rope_angles(frequencies, counting(m.length - m.rows, m.rows), device);
  }
}

StepAttention::~StepAttention() = default;

bool StepAttention::by_sequence() const {
  const State& s = *state_;
  const ops::PagedKv& kv = s.members[0].cache->pool->layer(0);
  return !s.observed() && (kv.int8() || kv.k.scalar_type() == at::kFloat);
}

std::span<const int32_t> StepAttention::row_begin() const { return state_->batch.row_begin; }

void StepAttention::attend_sequences(int layer, int64_t from, int64_t to, float* q, float* k, const float* v,
                                     float* out) {
  const State& s = *state_;
  SequenceCache::State& first = *s.members[0].cache;
  const ops::PagedKv& kv = first.pool->layer(layer);
  const int64_t begin = s.batch.row_begin[from], rows = s.batch.row_begin[to] - begin;
  ops::rope_rows(s.angles, begin, rows, q, first.q_heads);
  ops::rope_rows(s.angles, begin, rows, k, first.kv_heads());
  const ops::PagedRows part{&s.batch, from, to, first.q_heads};
  ops::paged_append(k, v, part, kv);
  ops::paged_attention(q, part, kv, s.scale, out);
  for (int64_t i = from; i < to; ++i) {
    const State::Member& m = s.members[static_cast<size_t>(i)];
    m.cache->keep_queries(layer, q + (m.first_row - begin) * first.q_heads * kv.head_dim(), m.kinds);
  }
}

at::Tensor StepAttention::attend(int layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const at::Tensor out = at::empty_like(q, at::MemoryFormat::Contiguous);
  attend_into(layer, {}, q.clone(at::MemoryFormat::Contiguous), k.clone(at::MemoryFormat::Contiguous), v.contiguous(),
              {}, out);
  return out;
}

void StepAttention::attend_into(int layer, const ops::HeadNorms& norms, const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v, const at::Tensor& wanted, const at::Tensor& out) {
  State& s = *state_;
  const ops::PagedKv& kv = s.members[0].cache->pool->layer(layer);
  TL_CHECK(q.size(0) == s.rows && k.size(0) == s.rows && v.size(0) == s.rows, "rows of a step do not match");
  const at::Tensor unrotated_q = s.any_unrotated ? s.append_unrotated(norms, q, k, v, kv) : at::Tensor();
  if (!s.any_unrotated) ops::rotate_and_append(q, k, v, norms, s.angles, s.batch, kv);

  if (wanted.defined() && !s.observed()) {
    if (const std::optional<ops::PagedBatch> last = s.last_rows(wanted)) {
      ops::paged_attention(ops::selected_rows(q, wanted), kv, *last, s.scale, nullptr, s.mode, out);
      return s.observe(layer, q, kv, {});
    }
  }
  const at::Tensor all = wanted.defined() ? at::empty_like(q) : out;
  ops::AttentionProbe probe;
  if (s.any_sums) probe.lse = at::empty({s.rows, q.size(1)}, at::kFloat);
  if (s.any_logits) {
    for (const State::Member& m : s.members) {
      const bool wanted = m.wants_logits && m.rows == 1;
      probe.logits.push_back(wanted ? at::empty({m.cache->q_heads, m.length}, at::kFloat) : at::Tensor());
    }
  }
  // Sequences with unrotated keys go through it as well and are overwritten: a rare policy is not worth a second batch.
  ops::paged_attention(q, kv, s.batch, s.scale, &probe, s.mode, all);
  for (const State::Member& m : s.members) {
    if (m.unrotated()) all.narrow(0, m.first_row, m.rows).copy_(s.attend_by_rank(m, layer, unrotated_q));
  }
  if (wanted.defined()) out.copy_(ops::selected_rows(all, wanted));
  s.observe(layer, q, kv, probe);
}

}  // namespace throughline

// What happens at an event: select who goes, record it, compact. See sequence_cache.h.
#include <ATen/ops/empty.h>
#include <ATen/ops/softmax.h>

#include <algorithm>

#include "cache/selection.h"
#include "cache/sequence_state.h"

namespace throughline {
namespace {

at::Tensor int64_tensor(std::vector<int64_t> shape) { return at::empty(shape, at::kLong); }

// Which slots of one set go, and which survivors move into which holes below `kept`.
struct Compaction {
  std::vector<int32_t> from, to;  // slots, pairwise
  std::vector<int32_t> order;     // the new position order
};

Compaction plan(const TokenSet& set, std::span<const int32_t> evicted, int64_t cached, int64_t kept) {
  Compaction out;
  out.order.reserve(kept);
  std::vector<int32_t> holes;
  size_t next = 0;
  for (const int32_t slot : set.order) {
    if (next < evicted.size() && set.position[slot] == evicted[next]) {
      ++next;
      if (slot < kept) holes.push_back(slot);
    } else {
      out.order.push_back(slot);
      if (slot >= kept) out.from.push_back(slot);
    }
  }
  TL_CHECK(next == evicted.size() && holes.size() == out.from.size() && static_cast<int64_t>(out.order.size()) == kept,
           "the record names positions that are not cached");
  std::sort(holes.begin(), holes.end());
  std::sort(out.from.begin(), out.from.end());
  out.to = std::move(holes);
  std::vector<int32_t> moved_to(cached - kept, -1);
  for (size_t i = 0; i < out.from.size(); ++i) moved_to[out.from[i] - kept] = out.to[i];
  for (int32_t& slot : out.order) {
    if (slot >= kept) slot = moved_to[slot - kept];
  }
  return out;
}

}  // namespace

ScoreInputs SequenceCache::State::score_inputs(int64_t layer, const RngKey& random, at::Tensor* keys) const {
  ScoreInputs in;
  in.layer = layer;
  in.q_heads = q_heads;
  in.kv_heads = kv_heads();
  in.scale = scale;
  in.clock = clock();
  in.first_candidate = in.clock.protected_tokens;
  in.candidates = policy->candidates(in.clock);
  in.previous_event_decoded = book.previous_event_decoded;
  in.random = random;

  const int64_t cached = book.cached;
  at::Tensor slots = int64_tensor({sets_per_layer, cached});
  in.positions = int64_tensor({sets_per_layer, cached});
  for (int64_t h = 0; h < sets_per_layer; ++h) {
    const TokenSet& set = book.sets[layer * sets_per_layer + h];
    int64_t* slot_row = slots.data_ptr<int64_t>() + h * cached;
    int64_t* position_row = in.positions.data_ptr<int64_t>() + h * cached;
    for (int64_t i = 0; i < cached; ++i) {
      slot_row[i] = set.order[i];
      position_row[i] = set.position[set.order[i]];
    }
  }
  if (needs.query_window > 0) {
    const ops::PagedKv& kv = pool->layer(layer);
    const auto type = kv.k.scalar_type() == at::kFloat ? at::kFloat : at::kBFloat16;
    if (!keys->defined()) *keys = at::empty({kv_heads(), cached, pool->shape().head_dim}, type);
    in.keys = *keys;
    if (kv.int8()) {
      in.key_scales = at::empty({kv_heads(), cached}, at::kFloat);
      ops::gather_int8_keys(kv, pages, slots, in.keys, in.key_scales);
    } else {
      ops::gather_slots(kv, ops::KvSide::kKeys, pages, slots, in.keys);
    }
    const int64_t first = std::max<int64_t>(1, book.decoded - needs.query_window + 1);
    in.queries = at::empty({book.decoded - first + 1, q_heads, pool->shape().head_dim}, at::kFloat);
    float* row = in.queries.data_ptr<float>();
    for (int64_t step = first; step <= book.decoded; ++step) {
      in.query_steps.push_back(step);
      const at::Tensor kept = book.ring[layer][(step - 1) % ring_rows()];
      row = std::copy_n(kept.const_data_ptr<float>(), kept.numel(), row);
    }
  }
  if (needs.attention_sums) {
    in.attention = at::empty({kv_heads(), cached}, at::kFloat);
    for (int64_t h = 0; h < kv_heads(); ++h) {
      const float* sums = book.sums[layer].data_ptr<float>() + h * book.sums[layer].stride(0);
      const std::vector<int32_t>& order = set_of(layer, h)->order;
      float* row = in.attention.data_ptr<float>() + h * cached;
      for (int64_t i = 0; i < cached; ++i) row[i] = sums[order[i]];
    }
  } else if (needs.step_attention) {
    const at::Tensor weights = at::softmax(step_logits.at(layer).cpu(), -1).contiguous();  // slot order
    in.attention = at::empty({q_heads, cached}, at::kFloat);
    for (int64_t q = 0; q < q_heads; ++q) {
      const std::vector<int32_t>& order = set_of(layer, q / (q_heads / kv_heads()))->order;
      const float* source = weights.data_ptr<float>() + q * cached;
      float* row = in.attention.data_ptr<float>() + q * cached;
      for (int64_t i = 0; i < cached; ++i) row[i] = source[order[i]];
    }
  }
  return in;
}

EvictionRecord SequenceCache::State::select(const RngKey& random, int64_t lowered_to) const {
  const EventClock now = clock();
  const int64_t candidates = policy->candidates(now);
  const int64_t survivors =
      lowered_to > 0 ? policy->survivors_within(lowered_to, now, candidates) : policy->survivors(now, candidates);
  EvictionRecord record;
  record.decoded = now.decoded;
  record.tokens = book.tokens;
  record.gone = candidates - survivors;
  record.kept = now.cached - record.gone;
  record.lowered_to = lowered_to;
  if (record.gone == 0) return record;
  record.evicted.reserve(layers() * sets_per_layer * record.gone);
  at::Tensor keys;
  for (int64_t layer = 0; layer < layers(); ++layer) {
    const ScoreInputs in = score_inputs(layer, random, &keys);
    const at::Tensor scores = policy->scores(in).contiguous();
    TL_CHECK(scores.dim() == 2 && scores.size(0) == sets_per_layer && scores.size(1) == candidates &&
                 scores.scalar_type() == at::kFloat,
             policy->spec().method + " gave scores of the wrong shape");
    for (int64_t h = 0; h < sets_per_layer; ++h) {
      const int64_t* positions = in.positions.data_ptr<int64_t>() + h * book.cached + in.first_candidate;
      const float* row = scores.data_ptr<float>() + h * candidates;
      for (const int64_t i : lowest(std::span(row, candidates), record.gone)) {
        record.evicted.push_back(static_cast<int32_t>(positions[i]));
      }
    }
  }
  return record;
}

void SequenceCache::State::apply(const EvictionRecord& record) {
  SequenceBook& b = book;
  const int64_t kept = record.kept;
  if (record.gone > 0) {
    std::vector<Compaction> plans;
    plans.reserve(b.sets.size());
    for (size_t i = 0; i < b.sets.size(); ++i) {
      plans.push_back(plan(b.sets[i], record.evicted_of(static_cast<int64_t>(i)), b.cached, kept));
      // A page stands for all layers, so it must be writable before the first layer moves anything.
      for (const int32_t to : plans.back().to) make_writable(to / page_tokens());
    }
    for (int64_t layer = 0; layer < layers(); ++layer) {
      std::vector<ops::SlotMove> moves;
      for (int64_t h = 0; h < sets_per_layer; ++h) {
        const Compaction& p = plans[layer * sets_per_layer + h];
        const int32_t head = sets_per_layer == 1 ? -1 : static_cast<int32_t>(h);
        for (size_t i = 0; i < p.from.size(); ++i) moves.push_back({head, p.from[i], p.to[i]});
      }
      if (!moves.empty()) ops::move_slots(pool->layer(layer), pages, moves);
      for (int64_t h = 0; !b.sums.empty() && h < kv_heads(); ++h) {
        const Compaction& p = plans[layer * sets_per_layer + (sets_per_layer == 1 ? 0 : h)];
        float* sums = b.sums[layer].data_ptr<float>() + h * b.sums[layer].stride(0);
        for (size_t i = 0; i < p.from.size(); ++i) sums[p.to[i]] = sums[p.from[i]];
        std::fill(sums + kept, sums + b.cached, 0.0F);  // the next tokens there start from nothing
      }
    }
    for (size_t i = 0; i < b.sets.size(); ++i) {
      TokenSet& set = b.sets[i];
      for (size_t j = 0; j < plans[i].from.size(); ++j) set.position[plans[i].to[j]] = set.position[plans[i].from[j]];
      set.position.resize(kept);
      set.order = std::move(plans[i].order);
    }
    const size_t pages_left = static_cast<size_t>((kept + page_tokens() - 1) / page_tokens());
    while (pages.size() > pages_left) {
      pool->release(pages.back());
      pages.pop_back();
    }
  }
  if (!replays) release_spare();  // another record may follow; at the latest the next commit() releases them
  step_logits.clear();
  b.cached = kept;
  b.last_sampled = false;
  if (record.lowered_to > 0) {
    b.budget_limit = record.lowered_to;
    b.stats.lowest_budget = record.lowered_to;
    ++b.stats.lowered;
  } else {
    b.previous_event_decoded = record.decoded;
    ++b.events;
  }
  ++b.stats.compressions;
  b.stats.evicted_tokens += record.gone;
  b.stats.final_tokens = kept;
  b.records.push_back(EvictionRecord(record));
}

}  // namespace throughline

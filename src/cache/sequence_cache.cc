#include "cache/sequence_cache.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>
#include <type_traits>

#include "cache/sequence_state.h"
#include "ops/row_kernels.h"

namespace throughline {
namespace {

int64_t pages_for(int64_t tokens, int64_t page_tokens) { return (tokens + page_tokens - 1) / page_tokens; }

}  // namespace

SequenceCache::State::~State() { release_pages(); }

void SequenceCache::State::release_spare() {
  for (const int32_t page : spare) pool->release(page);
  spare.clear();
}

void SequenceCache::State::release_pages() {
  release_spare();
  for (const int32_t page : pages) pool->release(page);
  pages.clear();
}

EventClock SequenceCache::State::clock() const { return clock_after(0, 0); }

EventClock SequenceCache::State::clock_after(int64_t sampled, int64_t rows) const {
  EventClock clock;
  clock.decoded = book.decoded + sampled;
  clock.cached = book.cached + rows;
  clock.protected_tokens = std::min(protected_limit, clock.cached);
  clock.events = book.events;
  clock.budget_limit = book.budget_limit;
  return clock;
}

const TokenSet* SequenceCache::State::set_of(int64_t layer, int64_t head) const {
  if (book.sets.empty()) return nullptr;
  return &book.sets[layer * sets_per_layer + (sets_per_layer == 1 ? 0 : head)];
}

// Shared pages that an event after the next `rows` tokens may have to write: those with a slot that a survivor may move
// into. Protected tokens never leave slots 0 .. protected-1, survivors end below `kept`.
int64_t SequenceCache::State::event_copies(int64_t rows, std::span<const EvictionRecord> replayed) const {
  if (policy == nullptr) return 0;
  const int64_t first = clock_after(0, rows).protected_tokens / page_tokens();
  int64_t end = 0;
  for (const EvictionRecord& record : replayed) {  // one of memory pressure is never due
    if (record.gone > 0) end = std::max(end, pages_for(record.kept, page_tokens()));
  }
  for (int64_t sampled = 1; sampled <= rows; ++sampled) {
    const EventClock then = clock_after(sampled, rows);
    if (!policy->event_due(then)) continue;
    const int64_t kept = policy->kept_tokens(then);
    if (kept == then.cached) continue;
    end = std::max(end, pages_for(kept, page_tokens()));
  }
  end = std::min<int64_t>(end, pages.size());
  int64_t copies = 0;
  for (int64_t i = first; i < end; ++i) copies += shared(i) ? 1 : 0;
  return copies;
}

void SequenceCache::State::make_writable(int64_t page_index) {
  if (!shared(page_index)) return;
  int32_t copy;
  if (spare.empty()) {
    copy = pool->allocate();
  } else {
    copy = spare.back();
    spare.pop_back();
  }
  pool->copy_page(pages[page_index], copy);
  pool->release(pages[page_index]);
  pages[page_index] = copy;
}

at::Tensor SequenceCache::State::sums_for(int64_t layer, int64_t length) {
  at::Tensor& sums = book.sums[layer];
  if (!sums.defined() || sums.size(1) < length) {
    at::Tensor larger = at::zeros({kv_heads(), std::max<int64_t>(length + length / 2, 64)}, at::kFloat);
    if (sums.defined()) larger.narrow(1, 0, sums.size(1)).copy_(sums);
    sums = larger;
  }
  return sums;
}

// Grows with what is decoded: a short answer under a wide window needs few rows.
void SequenceCache::State::prepare_ring(const std::vector<TokenKind>& kinds) {
  const int64_t have = book.ring.defined() ? book.ring.size(1) : 0;
  if (needs.query_window == 0 || have == ring_rows()) return;
  const int64_t sampled = std::count(kinds.begin(), kinds.end(), TokenKind::kSampled);
  const int64_t rows = std::min(ring_rows(), book.decoded + sampled);
  if (sampled == 0 || have >= rows) return;
  const int64_t larger = std::min(ring_rows(), std::max<int64_t>(2 * rows, 64));
  at::Tensor ring = at::zeros({layers(), larger, q_heads, pool->shape().head_dim}, at::kFloat);
  if (have > 0) ring.narrow(1, 0, have).copy_(book.ring);
  book.ring = std::move(ring);
}

template <class T>
void SequenceCache::State::keep_queries(int64_t layer, const T* q, const std::vector<TokenKind>& kinds) {
  if (needs.query_window == 0) return;
  const int64_t sampled = std::count(kinds.begin(), kinds.end(), TokenKind::kSampled);
  const int64_t width = q_heads * pool->shape().head_dim;
  float* ring = sampled > 0 ? book.ring.mutable_data_ptr<float>() + layer * book.ring.size(1) * width : nullptr;
  int64_t step = book.decoded;
  for (size_t row = 0; row < kinds.size(); ++row) {
    if (kinds[row] != TokenKind::kSampled) continue;
    ++step;
    if (step <= book.decoded + sampled - ring_rows()) continue;
    const T* from = q + static_cast<int64_t>(row) * width;
    float* to = ring + (step - 1) % ring_rows() * width;
    if constexpr (std::is_same_v<T, float>) {
      std::copy_n(from, width, to);
    } else {
      ops::kernels::to_float(from, to, width);
    }
  }
}
template void SequenceCache::State::keep_queries(int64_t, const float*, const std::vector<TokenKind>&);
template void SequenceCache::State::keep_queries(int64_t, const uint16_t*, const std::vector<TokenKind>&);

SequenceCache::SequenceCache(PagePool* pool, const EvictionPolicy* policy, int64_t q_heads, double scale,
                             int64_t prompt_tokens)
    : state_(std::make_unique<State>()) {
  TL_CHECK(q_heads > 0 && q_heads % pool->shape().kv_heads == 0, "query heads must be a multiple of the KV heads");
  state_->pool = pool;
  state_->policy = policy;
  state_->q_heads = q_heads;
  state_->scale = scale;
  state_->prompt_tokens = prompt_tokens;
  state_->protected_limit = prompt_tokens;
  if (policy == nullptr) return;
  state_->needs = policy->needs();
  state_->protected_limit = policy->protected_tokens(prompt_tokens);
  state_->sets_per_layer = policy->scope() == KeptScope::kHead ? state_->kv_heads() : 1;
  state_->book.sets.resize(state_->layers() * state_->sets_per_layer);
  if (state_->needs.attention_sums) state_->book.sums.resize(state_->layers());
}

SequenceCache::~SequenceCache() = default;
SequenceCache::SequenceCache(SequenceCache&&) noexcept = default;
SequenceCache& SequenceCache::operator=(SequenceCache&&) noexcept = default;

const EvictionPolicy* SequenceCache::policy() const { return state_->policy; }
int64_t SequenceCache::prompt_tokens() const { return state_->prompt_tokens; }
int64_t SequenceCache::sets_per_layer() const { return state_->sets_per_layer; }
int64_t SequenceCache::next_position() const { return state_->book.tokens; }
int64_t SequenceCache::cached_tokens() const { return state_->book.cached; }
int64_t SequenceCache::decoded() const { return state_->book.decoded; }
const CacheStats& SequenceCache::stats() const { return state_->book.stats; }
const std::vector<EvictionRecord>& SequenceCache::records() const { return state_->book.records; }
const std::vector<int32_t>& SequenceCache::pages() const { return state_->pages; }
bool SequenceCache::takes_prefix_hits() const { return state_->needs.takes_prefix_hits(); }

bool SequenceCache::pages_are_plain() const {
  if (state_->needs.unrotated_keys) return false;
  return state_->book.tokens == state_->book.cached;  // nothing has gone, so nothing has moved
}

int64_t SequenceCache::pages_needed(int64_t rows, std::span<const EvictionRecord> replayed) const {
  const State& s = *state_;
  const int64_t total = pages_for(s.book.cached + rows, s.page_tokens());
  int64_t needed = std::max<int64_t>(0, total - static_cast<int64_t>(s.pages.size()));
  const int64_t append_page = s.book.cached / s.page_tokens();
  if (rows > 0 && append_page < static_cast<int64_t>(s.pages.size()) && s.shared(append_page)) ++needed;
  // May count the append page once more: one page too many, for a step.
  const int64_t copies = s.event_copies(rows, replayed);
  return std::max<int64_t>(0, needed + copies - static_cast<int64_t>(s.spare.size()));
}

void SequenceCache::reserve(int64_t rows, std::span<const EvictionRecord> replayed) {
  State& s = *state_;
  TL_CHECK(s.pool->free_pages() >= pages_needed(rows, replayed), "reserve() without enough free pages");
  s.replays = !replayed.empty();
  const int64_t append_page = s.book.cached / s.page_tokens();
  if (rows > 0 && append_page < static_cast<int64_t>(s.pages.size())) s.make_writable(append_page);
  const int64_t total = pages_for(s.book.cached + rows, s.page_tokens());
  while (static_cast<int64_t>(s.pages.size()) < total) s.pages.push_back(s.pool->allocate());
  const int64_t copies = s.event_copies(rows, replayed);
  while (static_cast<int64_t>(s.spare.size()) < copies) s.spare.push_back(s.pool->allocate());
}

void SequenceCache::commit(std::span<const TokenKind> kinds) {
  State& s = *state_;
  SequenceBook& b = s.book;
  TL_CHECK(b.cached + static_cast<int64_t>(kinds.size()) <= static_cast<int64_t>(s.pages.size()) * s.page_tokens(),
           "commit() of rows that were not reserved");
  for (const TokenKind kind : kinds) {
    for (TokenSet& set : b.sets) {
      set.order.push_back(static_cast<int32_t>(b.cached));
      set.position.push_back(static_cast<int32_t>(b.tokens));
    }
    ++b.cached;
    ++b.tokens;
    b.last_sampled = kind == TokenKind::kSampled;
    if (!b.last_sampled) continue;
    ++b.decoded;
    ++b.stats.decode_steps;
    b.stats.attended_sum += b.cached;
  }
  b.stats.peak_tokens = std::max(b.stats.peak_tokens, b.cached);
  b.stats.final_tokens = b.cached;
  if (!due() && !s.replays) s.release_spare();
}

void SequenceCache::release_uncommitted() {
  State& s = *state_;
  const int64_t used = pages_for(s.book.cached, s.page_tokens());
  while (static_cast<int64_t>(s.pages.size()) > used) {
    s.pool->release(s.pages.back());
    s.pages.pop_back();
  }
  s.release_spare();
}

int64_t SequenceCache::rows_to_event(int64_t limit) const {
  const State& s = *state_;
  for (int64_t rows = 1; s.policy != nullptr && rows < limit; ++rows) {
    if (s.policy->event_due(s.clock_after(rows, rows))) return rows;
  }
  return limit;
}

bool SequenceCache::due() const {
  const State& s = *state_;
  return s.policy != nullptr && s.book.last_sampled && s.policy->event_due(s.clock());
}

void SequenceCache::compress(const RngKey& random) {
  TL_CHECK(due(), "compress() of a sequence that is not due");
  state_->apply(state_->select(random, 0));
}

int64_t SequenceCache::pages_to_gain(int64_t budget) const {
  const State& s = *state_;
  if (s.policy == nullptr || !s.book.last_sampled) return 0;
  if (s.needs.step_attention && s.step_logits.empty()) return 0;  // parked meanwhile
  const EventClock now = s.clock();
  const int64_t candidates = s.policy->candidates(now);
  const int64_t kept = now.cached - candidates + s.policy->survivors_within(budget, now, candidates);
  const int64_t pages_left = pages_for(kept, s.page_tokens());
  int64_t copies = 0, given = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(s.pages.size()); ++i) {
    if (i >= pages_left) {
      given += s.shared(i) ? 0 : 1;
    } else if (i >= now.protected_tokens / s.page_tokens()) {
      copies += s.shared(i) ? 1 : 0;
    }
  }
  return copies <= s.pool->free_pages() ? std::max<int64_t>(0, given - copies) : 0;
}

void SequenceCache::lower_budget(int64_t budget, const RngKey& random) {
  TL_CHECK(pages_to_gain(budget) > 0, "lower_budget() where nothing is to be gained");
  state_->apply(state_->select(random, budget));
}

void SequenceCache::replay(const EvictionRecord& record) {
  const SequenceBook& b = state_->book;
  TL_CHECK(b.decoded == record.decoded && b.tokens == record.tokens && b.cached == record.kept + record.gone,
           "replay() of an event at another point of the sequence");
  state_->apply(record);
}

void SequenceCache::adopt_prefix(std::span<const int32_t> pages, int64_t tokens) {
  State& s = *state_;
  TL_CHECK(s.book.tokens == 0 && s.pages.empty(), "adopt_prefix() of a sequence that is not empty");
  TL_CHECK(takes_prefix_hits(), "adopt_prefix() under a policy that takes no prefix hits");
  TL_CHECK(tokens == static_cast<int64_t>(pages.size()) * s.page_tokens(), "adopt_prefix() takes whole pages");
  for (const int32_t page : pages) s.pool->retain(page);
  s.pages.assign(pages.begin(), pages.end());
  const std::vector<TokenKind> kinds(tokens, TokenKind::kPrompt);
  commit(kinds);
}

std::vector<int32_t> SequenceCache::kept_positions(int64_t layer, int64_t head) const {
  const TokenSet* set = state_->set_of(layer, head);
  std::vector<int32_t> out(state_->book.cached);
  if (set == nullptr) {
    std::iota(out.begin(), out.end(), 0);
  } else {
    for (size_t i = 0; i < out.size(); ++i) out[i] = set->position[set->order[i]];
  }
  return out;
}

}  // namespace throughline

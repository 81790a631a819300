// Parking in host memory, and synthetic filling for the benchmarks. See sequence_cache.h.
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "cache/sequence_state.h"

namespace throughline {
namespace {

struct ParkedSequence final : SequenceCache::Parked {
  SequenceBook book;
  int64_t page_bytes = 0;
  std::vector<std::byte> kv;  // whole pages, in slot order
};

const ParkedSequence& contents(const SequenceCache::Parked& parked) {
  const auto* out = dynamic_cast<const ParkedSequence*>(&parked);
  TL_CHECK(out != nullptr, "not a parked sequence");
  return *out;
}

// The tensors of a book are changed in place, so a copy needs its own.
SequenceBook copy_of(const SequenceBook& book) {
  SequenceBook out = book;
  for (at::Tensor& sums : out.sums) {
    if (sums.defined()) sums = sums.clone();
  }
  if (out.ring.defined()) out.ring = out.ring.clone();
  return out;
}

int64_t book_bytes(const SequenceBook& book) {
  int64_t bytes = sizeof(SequenceBook) + (book.ring.defined() ? static_cast<int64_t>(book.ring.nbytes()) : 0);
  for (const at::Tensor& sums : book.sums) bytes += sums.defined() ? static_cast<int64_t>(sums.nbytes()) : 0;
  for (const TokenSet& set : book.sets) bytes += 2 * sizeof(int32_t) * static_cast<int64_t>(set.position.size());
  for (const EvictionRecord& record : book.records) {
    bytes += static_cast<int64_t>(sizeof record + sizeof(int32_t) * record.evicted.size());
  }
  return bytes;
}

struct CyclePoint {
  EventClock clock;
  int64_t previous_event_decoded = 0;
};

// Where a sequence of `depth` tokens stands half-way between its last event and the next; the whole cache if it has had
// no event yet.
CyclePoint middle_of_cycle(const EvictionPolicy* policy, int64_t prompt_tokens, int64_t depth) {
  constexpr int64_t kLongestCycle = 1 << 22;  // some policies have no next event
  const int64_t sampled = depth - prompt_tokens;
  const int64_t limit = policy == nullptr ? 0 : policy->protected_tokens(prompt_tokens);
  EventClock clock, last;
  clock.cached = prompt_tokens;
  const int64_t end = policy == nullptr ? 0 : sampled + kLongestCycle;
  for (clock.decoded = 1; clock.decoded <= end; ++clock.decoded) {
    if (clock.decoded > sampled && last.events == 0) break;
    ++clock.cached;
    clock.protected_tokens = std::min(limit, clock.cached);
    if (!policy->event_due(clock)) continue;
    if (clock.decoded > sampled) break;
    clock.cached = policy->kept_tokens(clock);
    ++clock.events;
    last = clock;
  }
  CyclePoint out;
  out.clock = last;
  out.previous_event_decoded = last.decoded;
  if (last.events == 0) {
    out.clock.decoded = sampled;
    out.clock.cached = depth;
  } else {
    const int64_t half = (clock.decoded - last.decoded) / 2;
    out.clock.decoded += half;
    out.clock.cached = std::min(depth, last.cached + half);
  }
  return out;
}

// Standard normals would cost more than the copy; uniform in [-1, 1) times sqrt(3) has the same variance.
at::Tensor random_values(int64_t count, uint64_t seed) {
  at::Tensor out = at::empty({count}, at::kFloat);
  float* values = out.data_ptr<float>();
  for (int64_t i = 0; i < count; i += 4) {
    const auto block = philox4x32({static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), 0, 0},
                                  {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
    for (int64_t j = 0; j < 4 && i + j < count; ++j) {
      values[i + j] = (static_cast<float>(block[j]) * 0x1.0p-31F - 1.0F) * 1.7320508F;
    }
  }
  return out;
}

// Fills the pages from one noise buffer, at another offset for each page, layer, head, K and V: as fast as copying.
void fill_pages(const PagePool& pool, const std::vector<int32_t>& pages, uint64_t seed) {
  const KvShape& shape = pool.shape();
  const int64_t block = shape.page_tokens * shape.head_dim;
  constexpr int64_t kNoise = 1 << 20;
  const bool int8 = shape.dtype == at::kChar;
  const at::Tensor values = random_values(kNoise + block, seed);
  const at::Tensor noise = (int8 ? values.mul(127 / 1.7320508) : values).to(shape.device, shape.dtype);
  const at::Tensor scales = at::full({shape.page_tokens}, 1.7320508 / 127, at::kFloat).view(at::kChar);
  CounterStream offsets(seed, 0, RngPurpose::kSynth);
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (const at::Tensor& side : {pool.layer(layer).k, pool.layer(layer).v}) {
      for (const int32_t page : pages) {
        const at::Tensor target = side[page];
        for (int64_t head = 0; head < shape.kv_heads; ++head) {
          const at::Tensor part = target[head].view({-1});
          part.narrow(0, 0, block).copy_(noise.narrow(0, offsets.integer(0, kNoise - 1), block));
          if (int8) part.narrow(0, block, scales.numel()).copy_(scales);
        }
      }
    }
  }
}

// A plausible set: the protected tokens, the newest, and evenly spread survivors between them.
TokenSet synthetic_set(int64_t depth, int64_t cached, int64_t head_tokens) {
  TokenSet set;
  const int64_t tail = std::min((cached - head_tokens + 1) / 2, depth - head_tokens);
  const int64_t middle = cached - head_tokens - tail, room = depth - head_tokens - tail;
  for (int64_t i = 0; i < head_tokens; ++i) set.position.push_back(static_cast<int32_t>(i));
  for (int64_t i = 0; i < middle; ++i) set.position.push_back(static_cast<int32_t>(head_tokens + i * room / middle));
  for (int64_t i = depth - tail; i < depth; ++i) set.position.push_back(static_cast<int32_t>(i));
  for (int64_t i = 0; i < cached; ++i) set.order.push_back(static_cast<int32_t>(i));
  return set;
}

}  // namespace

std::unique_ptr<SequenceCache::Parked> SequenceCache::park() {
  State& s = *state_;
  auto parked = std::make_unique<ParkedSequence>();
  s.release_spare();
  const int64_t used = (s.book.cached + s.page_tokens() - 1) / s.page_tokens();
  parked->book = copy_of(s.book);
  parked->page_bytes = s.pool->shape().bytes_per_page();
  parked->kv.resize(used * parked->page_bytes);
  for (int64_t i = 0; i < used; ++i) s.pool->read_page(s.pages[i], parked->kv.data() + i * parked->page_bytes);
  s.release_pages();
  return parked;
}

int64_t SequenceCache::pages_to_unpark(const Parked& parked) const {
  const ParkedSequence& from = contents(parked);
  return static_cast<int64_t>(from.kv.size()) / from.page_bytes;
}

void SequenceCache::unpark(const Parked& parked) {
  State& s = *state_;
  const ParkedSequence& from = contents(parked);
  TL_CHECK(s.pages.empty(), "unpark() into a sequence that holds pages");
  TL_CHECK(from.page_bytes == s.pool->shape().bytes_per_page() && from.book.sets.size() == s.book.sets.size(),
           "unpark() into a sequence of another shape");
  const int64_t count = pages_to_unpark(parked);
  TL_CHECK(s.pool->free_pages() >= count, "unpark() without enough free pages");
  for (int64_t i = 0; i < count; ++i) {
    s.pages.push_back(s.pool->allocate());
    s.pool->write_page(s.pages.back(), from.kv.data() + i * from.page_bytes);
  }
  s.book = copy_of(from.book);
}

int64_t SequenceCache::parked_bytes(const Parked& parked) {
  const ParkedSequence& from = contents(parked);
  return static_cast<int64_t>(from.kv.size()) + book_bytes(from.book);
}

int64_t SequenceCache::pages_for_synthetic(int64_t depth) const {
  const EventClock clock = middle_of_cycle(state_->policy, state_->prompt_tokens, depth).clock;
  return (clock.cached + state_->page_tokens() - 1) / state_->page_tokens();
}

void SequenceCache::fill_synthetic(int64_t depth, uint64_t seed) {
  State& s = *state_;
  SequenceBook& b = s.book;
  TL_CHECK(b.tokens == 0 && s.pages.empty(), "fill_synthetic() of a sequence that is not empty");
  TL_CHECK(depth >= s.prompt_tokens, "fill_synthetic() to less than the prompt");
  const CyclePoint point = middle_of_cycle(s.policy, s.prompt_tokens, depth);
  for (int64_t i = pages_for_synthetic(depth); i > 0; --i) s.pages.push_back(s.pool->allocate());
  fill_pages(*s.pool, s.pages, seed);
  b.tokens = depth;
  b.cached = point.clock.cached;
  b.decoded = point.clock.decoded;
  b.events = point.clock.events;
  b.previous_event_decoded = point.previous_event_decoded;
  b.stats.peak_tokens = b.stats.final_tokens = b.cached;
  for (TokenSet& set : b.sets) set = synthetic_set(depth, b.cached, std::min(s.protected_limit, b.cached));
  if (s.needs.query_window > 0) {
    const std::vector<int64_t> shape = {s.layers(), s.ring_rows(), s.q_heads, s.pool->shape().head_dim};
    b.ring =
        random_values(shape[0] * shape[1] * shape[2] * shape[3], seed + 1).reshape(shape).to(s.pool->shape().device);
  }
  for (int64_t layer = 0; s.needs.attention_sums && layer < s.layers(); ++layer) {
    at::Tensor sums = s.sums_for(layer, b.cached);
    sums.narrow(1, 0, b.cached)
        .copy_(random_values(s.kv_heads() * b.cached, seed + 2 + layer).abs().reshape({s.kv_heads(), b.cached}));
  }
}

}  // namespace throughline

// The harness's inside: see policy_harness.h. In one file, so that each policy's test stays quick to compile.
#include "cache/policy_harness.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace throughline::harness {
namespace {

// A draw in [-1, 1) as a pure function of its coordinates (splitmix64's finisher over a running hash).
double draw(std::initializer_list<int64_t> coordinates) {
  uint64_t x = 0;
  for (const int64_t c : coordinates) {
    x += 0x9E3779B97F4A7C15ULL + static_cast<uint64_t>(c);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    x ^= x >> 31;
  }
  return static_cast<double>(x >> 11) * 0x1.0p-52 - 1;
}

}  // namespace

ops::RopeFrequencies frequencies(int64_t head_dim) {
  ops::RopeFrequencies out;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    out.inv_freq.push_back(static_cast<float>(std::pow(10000.0, -2.0 * static_cast<double>(i) / head_dim)));
  }
  return out;
}

double projection(const Shape& shape, char what, int64_t layer, int64_t position, int64_t head, int64_t d) {
  const auto value_at = [&](int64_t at) { return draw({static_cast<int64_t>(shape.seed), what, layer, head, d, at}); };
  const double value = what == 'k' ? value_at(position) + 0.7 * value_at(-1 - position / 5) : 2 * value_at(position);
  return static_cast<double>(static_cast<float>(value));
}

at::Tensor projections(const Shape& shape, char what, int64_t layer, int64_t first, int64_t rows) {
  const int64_t heads = what == 'q' ? shape.q_heads() : shape.kv_heads;
  at::Tensor out = at::empty({rows, heads, shape.head_dim}, at::kFloat);
  float* value = out.data_ptr<float>();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t d = 0; d < shape.head_dim; ++d) {
        *value++ = static_cast<float>(projection(shape, what, layer, first + r, h, d));
      }
    }
  }
  return out.to(shape.dtype == at::kChar ? at::kFloat : shape.dtype);
}

std::vector<at::Tensor> Subject::feed(const std::vector<TokenKind>& kinds, std::span<const EvictionRecord> replayed) {
  const int64_t rows = static_cast<int64_t>(kinds.size()), first = cache.next_position();
  const int64_t free_before = pool->free_pages(), needed = cache.pages_needed(rows, replayed);
  cache.reserve(rows, replayed);
  EXPECT_LE(free_before - pool->free_pages(), needed);
  StepAttention step({{&cache, kinds}}, frequencies(shape.head_dim), shape.scale());
  std::vector<at::Tensor> out;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    out.push_back(step.attend(static_cast<int>(layer), projections(shape, 'q', layer, first, rows),
                              projections(shape, 'k', layer, first, rows),
                              projections(shape, 'v', layer, first, rows)));
  }
  cache.commit(kinds);
  return out;
}

bool Subject::event_if_due() {
  if (!cache.due()) return false;
  random.counter = static_cast<uint64_t>(cache.decoded());
  cache.compress(random);
  return true;
}

void Subject::prefill(int64_t slice) {
  while (cache.next_position() < shape.prompt) {
    feed(std::vector<TokenKind>(std::min(slice, shape.prompt - cache.next_position()), TokenKind::kPrompt));
  }
}

std::unique_ptr<PagePool> make_pool(const Shape& s) {
  auto pool = PagePool::create({s.layers, s.kv_heads, s.head_dim, s.page_tokens, s.dtype, at::kCPU}, s.pool_pages);
  EXPECT_TRUE(pool.ok());
  return std::move(pool).value();
}

std::unique_ptr<const EvictionPolicy> policy_of(const std::string& text) {
  auto spec = parse_spec(text, policy_infos(), "test");
  EXPECT_TRUE(spec.ok()) << (spec.ok() ? "" : spec.error().line());
  auto policy = make_policy(*spec, "test");
  EXPECT_TRUE(policy.ok()) << (policy.ok() ? "" : policy.error().line());
  return std::move(policy).value();
}

SlowModel::SlowModel(const Shape& shape, Rule rule, const std::string& protect) : shape(shape), rule(std::move(rule)) {
  protected_limit = protect == "prompt" ? shape.prompt : protect == "none" ? 0 : std::stoll(protect.substr(6));
  protected_limit = std::max(protected_limit, this->rule.sinks);
  sets.resize(shape.layers * shape.kv_heads);
  sums.resize(shape.layers * shape.kv_heads);
}

Vector SlowModel::rotated(char what, int64_t layer, int64_t position, int64_t head, int64_t angle_position) const {
  const int64_t half = shape.head_dim / 2;
  const ops::RopeFrequencies f = frequencies(shape.head_dim);
  Vector out(shape.head_dim);
  for (int64_t i = 0; i < half; ++i) {
    const double angle = static_cast<float>(angle_position) * f.inv_freq[i];
    const double a = projection(shape, what, layer, position, head, i);
    const double b = projection(shape, what, layer, position, head, i + half);
    out[i] = a * std::cos(angle) - b * std::sin(angle);
    out[i + half] = b * std::cos(angle) + a * std::sin(angle);
  }
  return out;
}

double SlowModel::logit(int64_t layer, int64_t query_position, int64_t q_head, int64_t key_position) const {
  const Vector& q = query(layer, query_position, q_head);
  const Vector& k = key(layer, key_position, q_head / shape.group);
  double sum = 0;
  for (int64_t d = 0; d < shape.head_dim; ++d) sum += q[d] * k[d];
  return sum * shape.scale();
}

std::vector<Vector> SlowModel::feed(TokenKind kind) {
  const int64_t position = tokens++;
  std::vector<Vector> out(shape.layers, Vector(shape.q_heads() * shape.head_dim));
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (int64_t h = 0; h < shape.kv_heads; ++h) sets[layer * shape.kv_heads + h].push_back(static_cast<int>(position));
    for (int64_t q = 0; q < shape.q_heads(); ++q) attend(layer, position, q, &out[layer]);
  }
  peak = std::max<int64_t>(peak, sets[0].size());
  if (kind != TokenKind::kSampled) return out;
  decode_positions.push_back(position);
  attended += sets[0].size();
  maybe_event();
  return out;
}

void SlowModel::attend(int64_t layer, int64_t position, int64_t q, Vector* out) {
  const int64_t head = q / shape.group;
  const std::vector<int>& set = sets[layer * shape.kv_heads + head];
  Vector w;
  for (size_t i = 0; i < set.size(); ++i) {
    if (!rule.by_rank) {
      w.push_back(logit(layer, position, q, set[i]));
      continue;
    }
    const Vector a = rotated('q', layer, position, q, static_cast<int64_t>(set.size()) - 1);
    const Vector b = rotated('k', layer, set[i], head, static_cast<int64_t>(i));
    double sum = 0;
    for (int64_t d = 0; d < shape.head_dim; ++d) sum += a[d] * b[d];
    w.push_back(sum * shape.scale());
  }
  softmax(&w);
  for (size_t i = 0; i < set.size(); ++i) {
    sums[layer * shape.kv_heads + head][set[i]] += w[i];
    const Vector& v = memo('v', layer, set[i], head);
    for (int64_t d = 0; d < shape.head_dim; ++d) (*out)[q * shape.head_dim + d] += w[i] * v[d];
  }
  weights[{layer, q}] = w;
}

void SlowModel::maybe_event() {
  const int64_t decoded = static_cast<int64_t>(decode_positions.size());
  const int64_t cached = static_cast<int64_t>(sets[0].size());
  const int64_t guarded = std::min(protected_limit, cached);
  const int64_t candidates = std::max<int64_t>(0, cached - guarded - rule.window);
  if (candidates == 0 || !rule.due(decoded, cached)) return;
  const int64_t stay =
      std::min(candidates, rule.survivors(static_cast<int64_t>(events.size()) + 1, guarded, candidates));
  Event event{decoded, {}};
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
      std::vector<int>& set = sets[layer * shape.kv_heads + h];
      if (!rule.per_head && h > 0) {
        set = sets[layer * shape.kv_heads];
        continue;
      }
      View view{this,          layer, rule.per_head ? h : -1, set, {}, decoded, static_cast<int64_t>(events.size()),
                previous_event};
      view.candidates.assign(set.begin() + guarded, set.begin() + guarded + candidates);
      const Vector score = rule.score(view);
      std::vector<int> kept(set.begin(), set.begin() + guarded);
      for (int64_t i = 0; i < candidates; ++i) {  // stays if fewer than `stay` beat it
        int64_t better = 0;
        for (int64_t j = 0; j < candidates; ++j) better += score[j] > score[i] || (score[j] == score[i] && j > i);
        if (better < stay) kept.push_back(view.candidates[i]);
      }
      kept.insert(kept.end(), set.begin() + guarded + candidates, set.end());
      event.kept.push_back(kept);
      set = kept;
    }
  }
  previous_event = decoded;
  events.push_back(event);
}

const Vector& SlowModel::memo(char what, int64_t layer, int64_t position, int64_t head) const {
  const int64_t rows = what == 'q' ? 0 : what == 'k' ? shape.q_heads() : 2 * shape.q_heads();
  const int64_t at = layer * 3 * shape.q_heads() + rows + head;
  if (memo_.empty()) memo_.resize(shape.layers * 3 * shape.q_heads());
  if (static_cast<int64_t>(memo_[at].size()) <= position) memo_[at].resize(position + 1);
  Vector& entry = memo_[at][position];
  if (entry.empty() && what != 'v') entry = rotated(what, layer, position, head, position);
  for (int64_t d = 0; static_cast<int64_t>(entry.size()) < shape.head_dim; ++d) {
    entry.push_back(projection(shape, what, layer, position, head, d));
  }
  return entry;
}

void SlowModel::softmax(Vector* w) {
  const double top = *std::max_element(w->begin(), w->end());
  double total = 0;
  for (double& x : *w) total += x = std::exp(x - top);
  for (double& x : *w) x /= total;
}

Vector slow_average_pool(const Vector& x, int64_t kernel, bool count_outside) {
  Vector out;
  for (int64_t i = 0; i < static_cast<int64_t>(x.size()); ++i) {
    double sum = 0;
    int64_t real = 0;
    for (int64_t j = i - kernel / 2; j <= i + kernel / 2; ++j) {
      if (j < 0 || j >= static_cast<int64_t>(x.size())) continue;
      sum += x[j];
      ++real;
    }
    out.push_back(sum / static_cast<double>(count_outside ? kernel : real));
  }
  return out;
}
Vector slow_max_pool(const Vector& x, int64_t kernel) {
  Vector out;
  for (int64_t i = 0; i < static_cast<int64_t>(x.size()); ++i) {
    double top = x[i];
    for (int64_t j = i - kernel / 2; j <= i + kernel / 2; ++j) {
      if (j >= 0 && j < static_cast<int64_t>(x.size())) top = std::max(top, x[j]);
    }
    out.push_back(top);
  }
  return out;
}

std::function<int64_t(int64_t, int64_t, int64_t)> within(int64_t budget, int64_t window) {
  return [=](int64_t, int64_t guarded, int64_t) { return std::max<int64_t>(0, budget - guarded - window); };
}

int64_t compare(const Shape& shape, const std::string& spec, const Rule& rule, const std::string& protect,
                int64_t steps, int64_t forced_every) {
  SCOPED_TRACE(spec + " protect=" + protect + " group=" + std::to_string(shape.group) +
               " head_dim=" + std::to_string(shape.head_dim) + " prompt=" + std::to_string(shape.prompt));
  auto pool = make_pool(shape);
  auto policy = policy_of(spec + (spec.find(':') == std::string::npos ? ":" : ",") + "protect=" + protect);
  SlowModel slow(shape, rule, protect);
  {
    Subject subject(shape, pool.get(), policy.get());
    subject.prefill(7);
    for (int64_t i = 0; i < shape.prompt; ++i) slow.feed(TokenKind::kPrompt);
    for (int64_t step = 1; step <= steps && !::testing::Test::HasFailure(); ++step) {
      const bool forced = forced_every > 0 && step % forced_every == 0;
      const TokenKind kind = forced ? TokenKind::kForced : TokenKind::kSampled;
      const auto outputs = subject.feed({kind});
      const size_t events_before = slow.events.size();
      const auto expected = slow.feed(kind);
      for (int64_t layer = 0; layer < shape.layers; ++layer) {
        const at::Tensor flat = outputs[layer].to(at::kFloat).reshape({-1});
        for (int64_t i = 0; i < flat.numel(); ++i) EXPECT_NEAR(flat.data_ptr<float>()[i], expected[layer][i], 1e-4);
      }
      const bool fired = subject.event_if_due();
      EXPECT_EQ(fired, slow.events.size() > events_before) << "at step " << step;
      EXPECT_EQ(subject.cache.cached_tokens(), static_cast<int64_t>(slow.sets[0].size())) << "at step " << step;
      if (!fired || slow.events.size() == events_before) continue;
      const auto& event = slow.events.back();
      const EvictionRecord& record = subject.cache.records().back();
      EXPECT_EQ(record.decoded, event.decoded);
      EXPECT_EQ(subject.cache.sets_per_layer(), rule.per_head ? shape.kv_heads : 1);
      for (size_t set = 0; set < event.kept.size(); ++set) {
        const int64_t per = subject.cache.sets_per_layer();
        const auto kept =
            subject.cache.kept_positions(static_cast<int64_t>(set) / per, static_cast<int64_t>(set) % per);
        EXPECT_EQ(std::vector<int>(kept.begin(), kept.end()), event.kept[set])
            << "event " << slow.events.size() << " at decoded " << event.decoded << " set " << set;
      }
    }
    const CacheStats& stats = subject.cache.stats();
    EXPECT_EQ(stats.peak_tokens, slow.peak);
    EXPECT_EQ(stats.attended_sum, slow.attended);
    EXPECT_EQ(stats.decode_steps, static_cast<int64_t>(slow.decode_positions.size()));
    EXPECT_EQ(stats.compressions, static_cast<int64_t>(slow.events.size()));
    EXPECT_EQ(stats.final_tokens, static_cast<int64_t>(slow.sets[0].size()));
    EXPECT_EQ(stats.evicted_tokens, slow.tokens - static_cast<int64_t>(slow.sets[0].size()));
    const int64_t held = (subject.cache.cached_tokens() + shape.page_tokens - 1) / shape.page_tokens;
    EXPECT_EQ(pool->used_pages(), held);
  }
  EXPECT_EQ(pool->used_pages(), 0);
  return static_cast<int64_t>(slow.events.size());
}

std::vector<Shape> shapes() {
  Shape a, b, c;
  a.group = 1, a.head_dim = 6, a.seed = 11;
  b.group = 2, b.head_dim = 16, b.kv_heads = 3, b.prompt = 17, b.seed = 12;
  c.group = 4, c.head_dim = 10, c.kv_heads = 1, c.prompt = 1, c.page_tokens = 5, c.seed = 13;
  return {a, b, c};
}
std::vector<std::string> protect_modes() { return {"prompt", "none", "first:3", "first:30"}; }

std::vector<std::string> small_policies() {
  return {"rpc:interval=12,ratio=3,window=5,kernel=3",
          "rpc:interval=12,ratio=3,window=5,aggregation=group,mode=reference,protect=none",
          "rpc:interval=9,ratio=1.5,window=4,budget=30,protect=first:4",
          "random:budget=30,interval=7,window=4,protect=none",
          "random:budget=30,interval=7,window=4,shared=true",
          "recency:budget=26",
          "snapkv:budget=30,interval=8,window=4,protect=first:3",
          "snapkv:form=2,budget=30,interval=8,window=4,kernel=3,protect=none",
          "rkv:budget=30,interval=8,window=4",
          "h2o:budget=28,recent=5,protect=none",
          "tova:budget=28,protect=first:2",
          "streaming:budget=24,protect=none",
          "streaming:budget=24,rotate=cache"};
}

std::vector<std::byte> bytes_of(const PagePool& pool, int32_t page) {
  std::vector<std::byte> out(pool.shape().bytes_per_page());
  pool.read_page(page, out.data());
  return out;
}

bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].equal(b[i])) return false;
  }
  return a.size() == b.size();
}

at::Tensor used_slots(const Subject& s, int64_t layer, ops::KvSide side) {
  return ops::gather_slots(s.pool->layer(layer), side, s.cache.pages(),
                           at::arange(s.cache.cached_tokens(), at::kLong).unsqueeze(0));
}

void expect_same_cache(const Subject& a, const Subject& b) {
  ASSERT_EQ(a.cache.cached_tokens(), b.cache.cached_tokens());
  ASSERT_EQ(a.cache.pages().size(), b.cache.pages().size());
  const KvShape& shape = a.pool->shape();
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (int64_t head = 0; head < a.cache.sets_per_layer(); ++head) {
      ASSERT_EQ(a.cache.kept_positions(layer, head), b.cache.kept_positions(layer, head));
    }
    for (const auto side : {ops::KvSide::kKeys, ops::KvSide::kValues})
      ASSERT_TRUE(used_slots(a, layer, side).equal(used_slots(b, layer, side)));
  }
}

}  // namespace throughline::harness

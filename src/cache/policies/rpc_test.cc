#include "cache/policies/rpc.h"

#include <gtest/gtest.h>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

struct RpcOptions {
  int64_t interval = 16, window = 6, kernel = 5;
  double ratio = 4;
  bool group = false, reference = false;
  int64_t budget = 0;

  std::string spec() const {
    std::string out = "rpc:interval=" + std::to_string(interval) + ",window=" + std::to_string(window) +
                      ",kernel=" + std::to_string(kernel) + ",ratio=" + std::to_string(ratio);
    if (group) out += ",aggregation=group";
    if (reference) out += ",mode=reference";
    if (budget > 0) out += ",budget=" + std::to_string(budget);
    return out;
  }
};

// POLICIES.md, table row and paragraph "rpc", by loops.
Rule slow_rpc(const RpcOptions& o) {
  Rule rule;
  rule.per_head = o.group;
  rule.window = o.window;
  rule.due = [o](int64_t decoded, int64_t) {
    for (int64_t n = 1; n * o.interval + o.window <= decoded; ++n) {
      if (n * o.interval + o.window == decoded) return true;
    }
    return false;
  };
  rule.survivors = [o](int64_t n, int64_t guarded, int64_t candidates) {
    int64_t stay =
        std::min(candidates, n * static_cast<int64_t>(std::floor(static_cast<double>(o.interval) / o.ratio)));
    if (o.budget > 0) stay = std::min(stay, std::max<int64_t>(0, o.budget - guarded - o.window));
    return stay;
  };
  rule.score = [o](const View& v) {
    std::vector<int64_t> steps;
    if (o.reference) {
      for (int64_t s = std::max(v.previous_event + 1, v.decoded - o.window + 2); s <= v.decoded; ++s)
        steps.push_back(s);
      steps.push_back(v.decoded);
    } else {
      for (int64_t s = v.decoded - o.window + 1; s <= v.decoded; ++s) steps.push_back(s);
    }
    const Shape& shape = v.model->shape;
    const int64_t first = v.head < 0 ? 0 : v.head * shape.group;
    const int64_t count = v.head < 0 ? shape.q_heads() : shape.group;
    Vector mean(v.candidates.size());
    for (int64_t q = first; q < first + count; ++q) {
      for (const int64_t step : steps) {
        Vector w;
        for (const int c : v.candidates) w.push_back(v.model->logit(v.layer, v.model->step_position(step), q, c));
        SlowModel::softmax(&w);
        for (size_t i = 0; i < w.size(); ++i) mean[i] += w[i] / static_cast<double>(count);
      }
    }
    return slow_average_pool(mean, o.kernel, o.reference);
  };
  return rule;
}

TEST(Rpc, KeepsWhatTheSlowReferenceKeeps) {
  for (const Shape& shape : shapes()) {
    for (const std::string& protect : protect_modes()) {
      for (const bool group : {false, true}) {
        for (const bool reference : {false, true}) {
          const RpcOptions o{.group = group, .reference = reference};
          EXPECT_GE(compare(shape, o.spec(), slow_rpc(o), protect, 120), 5);
        }
      }
    }
  }
}

TEST(Rpc, OptionsAtTheirEdges) {
  const Shape shape = shapes()[1];
  const std::vector<RpcOptions> cases = {
      {.interval = 4, .window = 9, .ratio = 2},                       // interval < window: true ring in fixed mode
      {.interval = 4, .window = 9, .ratio = 2, .reference = true},    // and fewer rows in reference mode
      {.interval = 10, .window = 1, .kernel = 1, .reference = true},  // only the current query, once
      {.interval = 10, .window = 1, .kernel = 1},
      {.interval = 13, .ratio = 2.6},               // fractional ratio: T = 5
      {.interval = 13, .ratio = 3},                 // T = floor(13 / 3) = 4
      {.interval = 8, .ratio = 20},                 // T = 0: prompt and window only
      {.interval = 12, .ratio = 1},                 // nothing goes, events are recorded
      {.interval = 12, .ratio = 2, .budget = 40},   // capped growth
      {.interval = 12, .ratio = 2, .budget = 10},   // cap under protected + window
      {.interval = 12, .window = 3, .kernel = 31},  // pool wider than the candidates at first
  };
  for (const RpcOptions& o : cases) EXPECT_GE(compare(shape, o.spec(), slow_rpc(o), "prompt", 100, 9), 5);
  const RpcOptions wide{.interval = 16, .window = 90, .ratio = 2};  // the ring grows before it goes round
  EXPECT_GE(compare(shape, wide.spec(), slow_rpc(wide), "prompt", 220, 9), 5);
}

// A literal transcription of research/rpc.md A.2, the published code's step for one layer: the cache as concatenated
// lists, `target`, `cached_recent`, the current query appended once more, zeros inside the average pool. In double
// where the code sums in bf16.
struct PublishedRpc {
  const SlowModel* model;  // for rotated queries and keys only
  int64_t layer, P, R, T, kernel;
  bool group;
  int64_t prompt_len = 0, n = 0;
  std::vector<std::vector<int>> cache;  // per KV head: positions of K
  std::vector<int> cached_recent;       // positions of the queries

  void prefill(int64_t q_len) {
    cache.assign(model->shape.kv_heads, {});
    for (auto& k : cache) {
      for (int i = 0; i < q_len; ++i) k.push_back(i);
    }
    prompt_len = q_len;
    n = 0;
  }
  bool decode(int q) {
    const int64_t target = static_cast<int64_t>(cache[0].size()) - prompt_len - n * T - R;
    if (target > P - R) cached_recent.push_back(q);
    for (auto& k : cache) k.push_back(q);
    if (target != P - 1) return false;
    compress(q);
    ++n;
    return true;
  }
  void compress(int q) {
    const Shape& shape = model->shape;
    std::vector<int> S = cached_recent;
    S.push_back(q);
    const int64_t L = static_cast<int64_t>(cache[0].size()), Lc = L - R - prompt_len;
    std::vector<Vector> s(shape.q_heads(), Vector(Lc));
    for (int64_t h = 0; h < shape.q_heads(); ++h) {
      for (const int row : S) {
        Vector A;
        for (int64_t i = prompt_len; i < L - R; ++i)
          A.push_back(model->logit(layer, row, h, cache[h / shape.group][i]));
        SlowModel::softmax(&A);
        for (int64_t i = 0; i < Lc; ++i) s[h][i] += A[i];
      }
    }
    for (int64_t g = 0; g < shape.kv_heads; ++g) {
      Vector mean(Lc), pooled(Lc);
      const int64_t first = group ? g * shape.group : 0, count = group ? shape.group : shape.q_heads();
      for (int64_t h = first; h < first + count; ++h) {
        for (int64_t i = 0; i < Lc; ++i) mean[i] += s[h][i] / static_cast<double>(count);
      }
      for (int64_t i = 0; i < Lc; ++i) {
        for (int64_t j = i - kernel / 2; j <= i + kernel / 2; ++j) {
          pooled[i] += (j < 0 || j >= Lc ? 0 : mean[j]) / static_cast<double>(kernel);
        }
      }
      std::vector<int64_t> idx(Lc);
      for (int64_t i = 0; i < Lc; ++i) idx[i] = i;
      std::sort(idx.begin(), idx.end(), [&](int64_t a, int64_t b) {  // the code leaves ties to torch.topk; ours here
        return pooled[a] != pooled[b] ? pooled[a] > pooled[b] : a > b;
      });
      idx.resize(std::min(Lc, (n + 1) * T));
      std::sort(idx.begin(), idx.end());
      std::vector<int> K(cache[g].begin(), cache[g].begin() + prompt_len);
      for (const int64_t i : idx) K.push_back(cache[g][prompt_len + i]);
      K.insert(K.end(), cache[g].end() - R, cache[g].end());
      cache[g] = K;
    }
    cached_recent.clear();
  }
};

TEST(Rpc, ReferenceModeIsThePublishedCode) {
  for (const Shape& shape : shapes()) {
    for (const bool group : {false, true}) {
      for (const auto& [P, R] : std::vector<std::pair<int64_t, int64_t>>{{16, 6}, {6, 6}, {4, 9}, {10, 1}, {10, 2}}) {
        const RpcOptions o{.interval = P, .window = R, .kernel = 7, .ratio = 2, .group = group, .reference = true};
        SCOPED_TRACE(o.spec());
        auto pool = make_pool(shape);
        auto policy = policy_of(o.spec());
        Subject subject(shape, pool.get(), policy.get());
        subject.prefill();
        const SlowModel model(shape, {}, "prompt");
        std::vector<PublishedRpc> published;
        for (int64_t layer = 0; layer < shape.layers; ++layer) {
          published.push_back({&model, layer, P, R, P / 2, o.kernel, group});
          published.back().prefill(shape.prompt);
        }
        int64_t events = 0;
        for (int64_t step = 1; events < 6; ++step) {
          subject.feed({TokenKind::kSampled});
          const bool fired = subject.event_if_due();
          events += fired;
          for (int64_t layer = 0; layer < shape.layers; ++layer) {
            ASSERT_EQ(published[layer].decode(static_cast<int>(shape.prompt + step - 1)), fired) << step;
            for (int64_t head = 0; fired && head < shape.kv_heads; ++head) {
              ASSERT_EQ(subject.cache.kept_positions(layer, head), published[layer].cache[head]) << "event " << events;
            }
          }
        }
      }
    }
  }
}

TEST(Rpc, SizeFollowsPromptPlusEventsTimesTPlusWindow) {
  const Shape shape = shapes()[0];
  auto pool = make_pool(shape);
  auto policy = policy_of("rpc:interval=16,ratio=4,window=6");
  Subject subject(shape, pool.get(), policy.get());
  subject.prefill();
  int64_t events = 0;
  for (int64_t n = 1; n <= 200; ++n) {
    subject.feed({TokenKind::kSampled});
    EXPECT_EQ(subject.cache.cached_tokens(), shape.prompt + (events == 0 ? n : events * 4 + 6 + n - (16 * events + 6)));
    if (!subject.event_if_due()) continue;
    ++events;
    EXPECT_EQ(n, 16 * events + 6);
    EXPECT_EQ(subject.cache.cached_tokens(), shape.prompt + events * 4 + 6);
    EXPECT_EQ(pool->used_pages(), (subject.cache.cached_tokens() + shape.page_tokens - 1) / shape.page_tokens);
  }
  EXPECT_EQ(events, 12);
  EXPECT_EQ(policy->peak_tokens(shape.prompt, 200), subject.cache.stats().peak_tokens);
}

TEST(Rpc, DefaultsAndBadOptions) {
  auto policy = policy_of("rpc");
  EXPECT_EQ(policy->window(), 32);
  EXPECT_EQ(policy->needs().query_window, 32);
  EXPECT_EQ(policy->scope(), KeptScope::kLayer);
  EXPECT_EQ(policy->protected_tokens(123), 123);
  EXPECT_EQ(policy->kept_tokens({.decoded = 1056, .cached = 1156, .protected_tokens = 100}), 100 + 256 + 32);
  for (const char* bad :
       {"rpc:kernel=4", "rpc:ratio=0.5", "rpc:mode=other", "rpc:window=0", "rpc:window=1025", "rpc:protect=some"}) {
    auto spec = parse_spec(bad, policy_infos(), "--kv");
    if (!spec.ok()) continue;
    auto made = make_policy(*spec, "--kv");
    ASSERT_FALSE(made.ok()) << bad;
    EXPECT_NE(made.error().line().find("--kv: kernel"), std::string::npos);
  }
}

}  // namespace
}  // namespace throughline::harness

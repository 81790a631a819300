#include "cache/policies/h2o.h"

#include <gtest/gtest.h>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

Rule slow_h2o(int64_t budget, int64_t recent) {
  Rule rule;
  rule.per_head = true;
  rule.window = recent;
  rule.due = [=](int64_t, int64_t cached) { return cached > budget; };
  rule.survivors = within(budget, recent);
  rule.score = [](const View& v) {
    Vector out;
    for (const int c : v.candidates) out.push_back(v.model->sums[v.layer * v.model->shape.kv_heads + v.head].at(c));
    return out;
  };
  return rule;
}

TEST(H2o, KeepsWhatTheSlowReferenceKeeps) {
  for (const Shape& shape : shapes()) {
    for (const std::string& protect : protect_modes()) {
      EXPECT_GE(compare(shape, "h2o:budget=40,recent=6", slow_h2o(40, 6), protect, 60, 8), 5);
    }
  }
  EXPECT_GE(compare(shapes()[0], "h2o:budget=20,recent=0", slow_h2o(20, 0), "none", 40), 5);
  EXPECT_GE(compare(shapes()[0], "h2o:budget=20,recent=30", slow_h2o(20, 30), "prompt", 50), 5);
}

TEST(H2o, SumsDoNotDependOnHowThePrefillWasCut) {
  Shape shape = shapes()[1];
  shape.prompt = 40;
  auto pool = make_pool(shape);
  auto policy = policy_of("h2o:budget=24,recent=4,protect=none");
  Subject whole(shape, pool.get(), policy.get()), sliced(shape, pool.get(), policy.get());
  EXPECT_FALSE(whole.cache.takes_prefix_hits());
  whole.prefill();
  sliced.prefill(3);
  for (int step = 0; step < 20; ++step) {
    const auto x = whole.feed({TokenKind::kSampled}), y = sliced.feed({TokenKind::kSampled});
    for (size_t layer = 0; layer < x.size(); ++layer) EXPECT_TRUE(x[layer].equal(y[layer])) << step;
    EXPECT_EQ(whole.event_if_due(), sliced.event_if_due());
    EXPECT_EQ(whole.cache.records().back().evicted, sliced.cache.records().back().evicted);
  }
}

}  // namespace
}  // namespace throughline::harness

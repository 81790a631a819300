#include "cache/policies/streaming.h"

#include <gtest/gtest.h>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

Rule slow_streaming(int64_t budget, int64_t sinks, bool by_rank) {
  Rule rule;
  rule.sinks = sinks;
  rule.by_rank = by_rank;
  rule.due = [=](int64_t, int64_t cached) { return cached > budget; };
  rule.survivors = within(budget, 0);
  rule.score = [](const View& v) { return Vector(v.candidates.begin(), v.candidates.end()); };
  return rule;
}

TEST(Streaming, KeepsWhatTheSlowReferenceKeeps) {
  for (const Shape& shape : shapes()) {
    for (const std::string& protect : protect_modes()) {
      EXPECT_GE(compare(shape, "streaming:budget=34", slow_streaming(34, 4, false), protect, 50, 7), 5);
      EXPECT_GE(compare(shape, "streaming:budget=34,sinks=2,rotate=cache", slow_streaming(34, 2, true), protect, 50),
                5);
    }
  }
}

TEST(Streaming, RotatedByPlaceItEqualsFullUntilSomethingGoes) {
  const Shape shape = shapes()[1];
  auto pool = make_pool(shape);
  auto policy = policy_of("streaming:budget=1000,rotate=cache");
  Subject a(shape, pool.get(), policy.get()), b(shape, pool.get(), nullptr);
  EXPECT_FALSE(a.cache.takes_prefix_hits());
  EXPECT_FALSE(a.cache.pages_are_plain());
  for (int step = 0; step < 30; ++step) {
    const std::vector<TokenKind> kinds(step == 0 ? shape.prompt : 1,
                                       step == 0 ? TokenKind::kPrompt : TokenKind::kSampled);
    const auto x = a.feed(kinds), y = b.feed(kinds);
    for (size_t layer = 0; layer < x.size(); ++layer) EXPECT_TRUE(x[layer].equal(y[layer])) << step;
  }
}

}  // namespace
}  // namespace throughline::harness

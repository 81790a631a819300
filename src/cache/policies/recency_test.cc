#include "cache/policies/recency.h"

#include <gtest/gtest.h>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

Rule slow_recency(int64_t budget) {
  Rule rule;
  rule.due = [=](int64_t, int64_t cached) { return cached > budget; };
  rule.survivors = within(budget, 0);
  rule.score = [](const View& v) { return Vector(v.candidates.begin(), v.candidates.end()); };
  return rule;
}

TEST(Recency, KeepsWhatTheSlowReferenceKeeps) {
  for (const Shape& shape : shapes()) {
    for (const std::string& protect : protect_modes()) {
      EXPECT_GE(compare(shape, "recency:budget=32", slow_recency(32), protect, 60, 7), 5);
    }
  }
}

TEST(Recency, AFullPromptLeavesNoRoomForTheNewest) {  // protected alone exceeds the budget: exactly it stays
  const Shape shape = shapes()[0];
  EXPECT_EQ(compare(shape, "recency:budget=4", slow_recency(4), "prompt", 8), 8);
}

}  // namespace
}  // namespace throughline::harness

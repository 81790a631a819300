#include "cache/policies/tova.h"

#include <gtest/gtest.h>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

Rule slow_tova(int64_t budget) {
  Rule rule;
  rule.due = [=](int64_t, int64_t cached) { return cached > budget; };
  rule.survivors = within(budget, 0);
  rule.score = [](const View& v) {
    Vector out;
    for (const int c : v.candidates) {
      const size_t column = std::find(v.cached.begin(), v.cached.end(), c) - v.cached.begin();
      double sum = 0;
      for (int64_t q = 0; q < v.model->shape.q_heads(); ++q) sum += v.model->weights.at({v.layer, q})[column];
      out.push_back(sum / static_cast<double>(v.model->shape.q_heads()));
    }
    return out;
  };
  return rule;
}

TEST(Tova, KeepsWhatTheSlowReferenceKeeps) {
  for (const Shape& shape : shapes()) {
    for (const std::string& protect : protect_modes()) {
      EXPECT_GE(compare(shape, "tova:budget=36", slow_tova(36), protect, 60, 9), 5);
    }
  }
}

}  // namespace
}  // namespace throughline::harness

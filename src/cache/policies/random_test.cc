#include "cache/policies/random.h"

#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

Rule slow_random(int64_t budget, int64_t interval, int64_t window, bool shared) {
  Rule rule;
  rule.per_head = !shared;
  rule.window = window;
  rule.due = [=](int64_t decoded, int64_t cached) { return decoded % interval == 0 && cached > budget; };
  rule.survivors = within(budget, window);
  rule.score = [](const View& v) {
    Vector out;
    const RngKey key{77, 3, static_cast<uint64_t>(v.decoded), RngPurpose::kEvict};  // as Subject::random
    for (const int c : v.candidates) {
      out.push_back(static_cast<float>(random_uniform(key, v.events, static_cast<uint32_t>(v.layer),
                                                      static_cast<uint32_t>(std::max<int64_t>(0, v.head)), c)));
    }
    return out;
  };
  return rule;
}

TEST(Random, KeepsWhatTheSlowReferenceKeeps) {
  for (const Shape& shape : shapes()) {
    for (const std::string& protect : protect_modes()) {
      for (const bool shared : {false, true}) {
        const std::string spec =
            std::string("random:budget=44,interval=8,window=5,shared=") + (shared ? "true" : "false");
        EXPECT_GE(compare(shape, spec, slow_random(44, 8, 5, shared), protect, 100, 11), 5);
      }
    }
  }
}

// Every candidate is as likely to stay as any other, heads draw apart, events draw anew.
TEST(Random, DrawsAreUniformAndFresh) {
  auto policy = policy_of("random:budget=44,interval=8,window=5");
  ScoreInputs in;
  in.kv_heads = 3;
  in.candidates = 1000;
  in.positions = at::arange(1000, at::kLong).expand({3, 1000}).contiguous();
  in.random = {5, 0, 9, RngPurpose::kEvict};
  const at::Tensor first = policy->scores(in);
  in.clock.events = 1;
  const at::Tensor second = policy->scores(in);
  // mean of (a - 1/2)(b - 1/2) over a row, in units of the variance of a uniform draw
  const auto moment = [](const at::Tensor& a, int64_t i, const at::Tensor& b, int64_t j) {
    double sum = 0;
    for (int64_t n = 0; n < 1000; ++n) {
      sum += (a.data_ptr<float>()[i * 1000 + n] - 0.5) * (b.data_ptr<float>()[j * 1000 + n] - 0.5);
    }
    return 12 * sum / 1000;
  };
  for (int64_t head = 0; head < 3; ++head) {
    double mean = 0;
    for (int64_t n = 0; n < 1000; ++n) mean += first.data_ptr<float>()[head * 1000 + n] / 1000;
    EXPECT_NEAR(mean, 0.5, 0.04);
    EXPECT_NEAR(moment(first, head, first, head), 1, 0.12);
    EXPECT_NEAR(moment(first, head, first, (head + 1) % 3), 0, 0.12);
    EXPECT_NEAR(moment(first, head, second, head), 0, 0.12);
  }
}

}  // namespace
}  // namespace throughline::harness

#include "cache/policies/snapkv.h"

#include <gtest/gtest.h>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

struct SnapOptions {
  int form = 1;
  int64_t budget = 40, interval = 8, window = 5, kernel = 7;
  std::string spec() const {
    return "snapkv:form=" + std::to_string(form) + ",budget=" + std::to_string(budget) +
           ",interval=" + std::to_string(interval) + ",window=" + std::to_string(window) +
           ",kernel=" + std::to_string(kernel);
  }
};

Rule slow_snapkv(const SnapOptions& o) {
  Rule rule;
  rule.per_head = true;
  rule.window = o.window;
  rule.due = [o](int64_t decoded, int64_t cached) { return decoded % o.interval == 0 && cached > o.budget; };
  rule.survivors = within(o.budget, o.window);
  rule.score = [o](const View& v) {
    const int64_t group = v.model->shape.group, first_step = std::max<int64_t>(1, v.decoded - o.window + 1);
    const double rows = static_cast<double>(v.decoded - first_step + 1);
    Vector mean(v.candidates.size());
    for (int64_t step = first_step; step <= v.decoded; ++step) {
      Vector largest(v.candidates.size(), -1e30);
      for (int64_t q = v.head * group; q < (v.head + 1) * group; ++q) {
        Vector w;
        for (const int c : v.candidates) w.push_back(v.model->logit(v.layer, v.model->step_position(step), q, c));
        for (size_t i = 0; i < w.size(); ++i) largest[i] = std::max(largest[i], w[i]);
        if (o.form == 1) continue;
        SlowModel::softmax(&w);
        for (size_t i = 0; i < w.size(); ++i) mean[i] += w[i] / rows / static_cast<double>(group);
      }
      if (o.form == 2) continue;
      SlowModel::softmax(&largest);
      for (size_t i = 0; i < largest.size(); ++i) mean[i] += largest[i] / rows;
    }
    return o.form == 1 ? slow_max_pool(mean, o.kernel) : slow_average_pool(mean, o.kernel);
  };
  return rule;
}

TEST(SnapKv, KeepsWhatTheSlowReferenceKeeps) {
  for (const Shape& shape : shapes()) {
    for (const std::string& protect : protect_modes()) {
      for (const int form : {1, 2}) {
        const SnapOptions o{.form = form};
        EXPECT_GE(compare(shape, o.spec(), slow_snapkv(o), protect, 90, 13), 5);
      }
    }
  }
}

TEST(SnapKv, OptionsAtTheirEdges) {
  const Shape shape = shapes()[1];
  for (const int form : {1, 2}) {
    const std::vector<SnapOptions> cases = {
        {.form = form, .budget = 30, .interval = 3, .window = 9},                // interval < window
        {.form = form, .budget = 30, .interval = 4, .window = 12, .kernel = 1},  // fewer queries than rows at first
        {.form = form, .budget = 10, .interval = 8},                             // protected + window exceed it
    };
    for (const SnapOptions& o : cases) EXPECT_GE(compare(shape, o.spec(), slow_snapkv(o), "prompt", 70), 5);
  }
}

TEST(SnapKv, DefaultsFollowTheForm) {
  EXPECT_EQ(policy_of("snapkv:budget=512")->window(), 8);
  EXPECT_EQ(policy_of("snapkv:form=2,budget=512")->window(), 64);
  EXPECT_TRUE(policy_of("snapkv:budget=512")->due({.decoded = 128, .cached = 513}));
  EXPECT_FALSE(policy_of("snapkv:budget=512")->due({.decoded = 64, .cached = 513}));
  EXPECT_TRUE(policy_of("snapkv:form=2,budget=512")->due({.decoded = 64, .cached = 513}));
  EXPECT_FALSE(policy_of("snapkv:form=2,budget=512")->due({.decoded = 64, .cached = 512}));
  auto even = parse_spec("snapkv:budget=9,kernel=2", policy_infos(), "--kv");
  EXPECT_NE(make_policy(*even, "--kv").error().line().find("odd"), std::string::npos);
  EXPECT_NE(describe_specs(policy_infos()).find("128 | 64 (form 2)"), std::string::npos);
}

}  // namespace
}  // namespace throughline::harness

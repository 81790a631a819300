#include "cache/policies/rkv.h"

#include <gtest/gtest.h>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

struct RkvOptions {
  int64_t budget = 40, interval = 8, window = 5, kernel = 7;
  double lambda = 0.1;
  std::string spec() const {
    return "rkv:budget=" + std::to_string(budget) + ",interval=" + std::to_string(interval) +
           ",window=" + std::to_string(window) + ",kernel=" + std::to_string(kernel) +
           ",lambda=" + std::to_string(lambda);
  }
};

double cosine(const Vector& a, const Vector& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
  return ab / std::sqrt(aa * bb);
}

Rule slow_rkv(const RkvOptions& o, int64_t* spared = nullptr) {
  Rule rule;
  rule.per_head = true;
  rule.window = o.window;
  rule.due = [o](int64_t decoded, int64_t cached) { return decoded % o.interval == 0 && cached > o.budget; };
  rule.survivors = within(o.budget, o.window);
  rule.score = [o, spared](const View& v) {
    const int64_t group = v.model->shape.group, first_step = std::max<int64_t>(1, v.decoded - o.window + 1);
    Vector s(v.candidates.size());
    for (int64_t step = first_step; step <= v.decoded; ++step) {
      Vector largest(v.candidates.size(), -1e30);
      for (int64_t q = v.head * group; q < (v.head + 1) * group; ++q) {
        for (size_t i = 0; i < largest.size(); ++i) {
          largest[i] = std::max(largest[i], v.model->logit(v.layer, v.model->step_position(step), q, v.candidates[i]));
        }
      }
      SlowModel::softmax(&largest);
      for (size_t i = 0; i < s.size(); ++i) s[i] += largest[i] / static_cast<double>(v.decoded - first_step + 1);
    }
    s = slow_max_pool(s, o.kernel);
    const size_t n = v.cached.size();
    Vector r(n);
    for (size_t i = 0; i < n; ++i) {
      Vector row(n);
      for (size_t j = 0; j < n; ++j) {
        if (i != j)
          row[j] = cosine(v.model->key(v.layer, v.cached[i], v.head), v.model->key(v.layer, v.cached[j], v.head));
      }
      for (size_t j = n; j-- > 0;) {
        if (row[j] <= 0.5) continue;
        row[j] = 0;
        if (spared != nullptr) ++*spared;
        break;
      }
      for (size_t j = 0; j < n; ++j) r[j] += row[j] / static_cast<double>(n);
    }
    SlowModel::softmax(&r);
    Vector z;
    for (size_t i = 0; i < s.size(); ++i) {
      const size_t column = std::find(v.cached.begin(), v.cached.end(), v.candidates[i]) - v.cached.begin();
      z.push_back(o.lambda * s[i] - (1 - o.lambda) * r[column]);
    }
    return z;
  };
  return rule;
}

TEST(Rkv, KeepsWhatTheSlowReferenceKeeps) {
  int64_t spared = 0;
  for (const Shape& shape : shapes()) {
    for (const std::string& protect : protect_modes()) {
      const RkvOptions o;
      EXPECT_GE(compare(shape, o.spec(), slow_rkv(o, &spared), protect, 90, 13), 5);
    }
  }
  EXPECT_GT(spared, 100);  // similar keys do occur in the data
  for (const double lambda : {0.0, 0.5, 1.0}) {
    const RkvOptions o{.interval = 4, .window = 9, .kernel = 1, .lambda = lambda};
    EXPECT_GE(compare(shapes()[1], o.spec(), slow_rkv(o), "prompt", 60), 5);
  }
}

}  // namespace
}  // namespace throughline::harness

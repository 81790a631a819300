#include "cache/policies/rkv.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "cache/policies/options.h"
#include "cache/policies/snapkv.h"
#include "cache/selection.h"
#include "ops/linear.h"

namespace throughline {
namespace {

constexpr float kSimilar = 0.5F;       // cosine above which two keys say the same (R-KV, section 3.2)
constexpr int64_t kSimilarRows = 256;  // rows of the similarity matrix held at once

// Redundancy of one head: keys fp32 [n, head_dim] in position order -> out [n].
void redundancy(const at::Tensor& keys, float* out) {
  const int64_t n = keys.size(0), head_dim = keys.size(1);
  at::Tensor unit = keys.clone();
  for (int64_t i = 0; i < n; ++i) {
    float* row = unit.data_ptr<float>() + i * head_dim;
    double square = 0;
    for (int64_t d = 0; d < head_dim; ++d) square += static_cast<double>(row[d]) * row[d];
    const float inverse = static_cast<float>(1 / std::max(std::sqrt(square), 1e-12));
    for (int64_t d = 0; d < head_dim; ++d) row[d] *= inverse;
  }
  std::vector<double> column_sum(n, 0);
  for (int64_t begin = 0; begin < n; begin += kSimilarRows) {
    const int64_t rows = std::min(kSimilarRows, n - begin);
    at::Tensor cosine = ops::linear(unit.narrow(0, begin, rows), unit, {}, ops::NumericMode::kExact);  // [rows, n]
    for (int64_t r = 0; r < rows; ++r) {
      float* row = cosine.data_ptr<float>() + r * n;
      row[begin + r] = 0;
      for (int64_t j = n - 1; j >= 0; --j) {  // the newest key like this one is spared
        if (row[j] <= kSimilar) continue;
        row[j] = 0;
        break;
      }
      for (int64_t j = 0; j < n; ++j) column_sum[j] += row[j];
    }
  }
  double total = 0, peak = *std::max_element(column_sum.begin(), column_sum.end()) / static_cast<double>(n);
  for (double& x : column_sum) total += x = std::exp(x / static_cast<double>(n) - peak);
  for (int64_t j = 0; j < n; ++j) out[j] = static_cast<float>(column_sum[j] / total);
}

class Rkv final : public EvictionPolicy {
 public:
  explicit Rkv(const Spec& spec)
      : EvictionPolicy(spec),
        budget_(spec.integer("budget")),
        interval_(spec.integer("interval")),
        window_(spec.integer("window")),
        kernel_(spec.integer("kernel")),
        lambda_(static_cast<float>(spec.number("lambda"))) {}

  PolicyNeeds needs() const override { return {.query_window = window_}; }
  KeptScope scope() const override { return KeptScope::kHead; }
  int64_t window() const override { return window_; }
  bool due(const EventClock& clock) const override {
    return clock.decoded % interval_ == 0 && clock.cached > lower_of(budget_, clock);
  }
  int64_t survivors(const EventClock& clock, int64_t candidates) const override {
    return survivors_within(budget_, clock, candidates);
  }

  at::Tensor scores(const ScoreInputs& in) const override {
    const at::Tensor importance = snapkv_importance(in, kernel_).contiguous();
    const int64_t cached = in.keys.size(1);
    at::Tensor out = at::empty({in.kv_heads, in.candidates}, at::kFloat);
    std::vector<float> redundant(cached);
    for (int64_t head = 0; head < in.kv_heads; ++head) {
      redundancy(in.keys[head].to(at::kFloat), redundant.data());  // of directions: without in.key_scales
      const float* s = importance.data_ptr<float>() + head * in.candidates;
      float* z = out.data_ptr<float>() + head * in.candidates;
      for (int64_t i = 0; i < in.candidates; ++i) {
        z[i] = lambda_ * s[i] - (1 - lambda_) * redundant[in.first_candidate + i];
      }
    }
    return out;
  }

 private:
  int64_t budget_, interval_, window_, kernel_;
  float lambda_;
};

}  // namespace

SpecInfo rkv_info() {
  return {"rkv",
          "R-KV (arXiv 2505.24133): importance minus redundancy per KV head, fixed budget",
          {budget_option(),
           {.name = "interval", .default_text = "128", .help = "sampled tokens between events", .minimum = 1},
           voters_option("8"),
           {.name = "kernel",
            .default_text = "7",
            .help = "width of the max pool over importance, odd; 1: none",
            .minimum = 1},
           {.name = "lambda",
            .type = OptionType::kNumber,
            .default_text = "0.1",
            .help = "weight of importance; 1 - lambda is that of redundancy",
            .minimum = 0,
            .maximum = 1},
           min_budget_option(),
           protect_option()}};
}

Result<std::unique_ptr<const EvictionPolicy>> make_rkv(const Spec& spec, const std::string& where) {
  TL_TRY_STATUS(check_odd(spec, "kernel", spec.integer("kernel"), where));
  return std::unique_ptr<const EvictionPolicy>(std::make_unique<Rkv>(spec));
}

}  // namespace throughline

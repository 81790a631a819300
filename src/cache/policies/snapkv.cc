#include "cache/policies/snapkv.h"

#include <ATen/ops/div.h>

#include "cache/policies/options.h"
#include "cache/selection.h"

namespace throughline {
namespace {

// The form decides what is left out of the spec: form 1 as the R-KV repository, form 2 as VaSE's.
int64_t option_or(const Spec& spec, const std::string& name, int64_t form1, int64_t form2) {
  if (spec.has(name)) return spec.integer(name);
  return spec.text("form") == "1" ? form1 : form2;
}

class SnapKv final : public EvictionPolicy {
 public:
  explicit SnapKv(const Spec& spec)
      : EvictionPolicy(spec),
        budget_(spec.integer("budget")),
        interval_(option_or(spec, "interval", 128, 64)),
        window_(option_or(spec, "window", 8, 64)),
        kernel_(option_or(spec, "kernel", 7, 5)),
        form1_(spec.text("form") == "1") {}

  PolicyNeeds needs() const override { return {.query_window = window_}; }
  KeptScope scope() const override { return KeptScope::kHead; }
  int64_t window() const override { return window_; }
  int64_t kernel() const { return kernel_; }
  bool due(const EventClock& clock) const override {
    return clock.decoded % interval_ == 0 && clock.cached > lower_of(budget_, clock);
  }
  int64_t survivors(const EventClock& clock, int64_t candidates) const override {
    return survivors_within(budget_, clock, candidates);
  }

  at::Tensor scores(const ScoreInputs& in) const override {
    if (form1_) return snapkv_importance(in, kernel_);
    const at::Tensor votes = candidate_attention(in, all_rows(in), ops::GroupVote::kEach);
    const at::Tensor mean = group_mean(votes, in.kv_heads);  // a sum over rows: the mean's order is the same
    return average_pool(mean, kernel_);
  }

 private:
  int64_t budget_, interval_, window_, kernel_;
  bool form1_;
};

}  // namespace

at::Tensor snapkv_importance(const ScoreInputs& in, int64_t kernel) {
  const at::Tensor votes = candidate_attention(in, all_rows(in), ops::GroupVote::kMaxLogits);
  return max_pool(at::div(votes, static_cast<double>(in.query_steps.size())), kernel);
}

SpecInfo snapkv_info() {
  return {
      "snapkv",
      "SnapKV at decode time (arXiv 2404.14469): recent queries vote per KV head, fixed budget",
      {{.name = "form",
        .type = OptionType::kChoice,
        .default_text = "1",
        .help = "1: as in R-KV's repository, 2: as in VaSE's",
        .choices = {"1", "2"}},
       budget_option(),
       {.name = "interval", .help = "sampled tokens between events", .minimum = 1, .default_note = "128 | 64 (form 2)"},
       voters_option("", "8 | 64 (form 2)"),
       {.name = "kernel",
        .help = "width of the max (form 2: average) pool over scores, odd; 1: none",
        .minimum = 1,
        .default_note = "7 | 5 (form 2)"},
       min_budget_option(),
       protect_option()}};
}

Result<std::unique_ptr<const EvictionPolicy>> make_snapkv(const Spec& spec, const std::string& where) {
  auto policy = std::make_unique<SnapKv>(spec);
  TL_TRY_STATUS(check_odd(spec, "kernel", policy->kernel(), where));
  return std::unique_ptr<const EvictionPolicy>(std::move(policy));
}

}  // namespace throughline

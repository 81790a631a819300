#include "cache/policies/h2o.h"

#include "cache/policies/options.h"

namespace throughline {
namespace {

class H2o final : public EvictionPolicy {
 public:
  explicit H2o(const Spec& spec)
      : EvictionPolicy(spec), budget_(spec.integer("budget")), recent_(spec.integer("recent")) {}

  PolicyNeeds needs() const override { return {.attention_sums = true}; }
  KeptScope scope() const override { return KeptScope::kHead; }
  int64_t window() const override { return recent_; }
  bool due(const EventClock& clock) const override { return clock.cached > lower_of(budget_, clock); }
  int64_t survivors(const EventClock& clock, int64_t candidates) const override {
    return survivors_within(budget_, clock, candidates);
  }
  at::Tensor scores(const ScoreInputs& in) const override {
    return in.attention.narrow(1, in.first_candidate, in.candidates);
  }

 private:
  int64_t budget_, recent_;
};

}  // namespace

SpecInfo h2o_info() {
  return {"h2o",
          "H2O heavy hitters (arXiv 2306.14048): most attention received so far, per KV head, every step",
          {budget_option(),
           {.name = "recent", .help = "newest tokens always kept", .required = true, .minimum = 0},
           min_budget_option(),
           protect_option()}};
}

Result<std::unique_ptr<const EvictionPolicy>> make_h2o(const Spec& spec, const std::string&) {
  return std::unique_ptr<const EvictionPolicy>(std::make_unique<H2o>(spec));
}

}  // namespace throughline

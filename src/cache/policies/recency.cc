#include "cache/policies/recency.h"

#include "cache/policies/options.h"
#include "cache/selection.h"

namespace throughline {
namespace {

class Recency final : public EvictionPolicy {
 public:
  explicit Recency(const Spec& spec) : EvictionPolicy(spec), budget_(spec.integer("budget")) {}

  KeptScope scope() const override { return KeptScope::kLayer; }
  bool due(const EventClock& clock) const override { return clock.cached > lower_of(budget_, clock); }
  int64_t survivors(const EventClock& clock, int64_t candidates) const override {
    return survivors_within(budget_, clock, candidates);
  }
  at::Tensor scores(const ScoreInputs& in) const override { return position_scores(in); }

 private:
  int64_t budget_;
};

}  // namespace

SpecInfo recency_info() {
  return {"recency", "null model: the newest tokens stay", {budget_option(), min_budget_option(), protect_option()}};
}

Result<std::unique_ptr<const EvictionPolicy>> make_recency(const Spec& spec, const std::string&) {
  return std::unique_ptr<const EvictionPolicy>(std::make_unique<Recency>(spec));
}

}  // namespace throughline

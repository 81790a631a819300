#include "cache/policies/tova.h"

#include "cache/policies/options.h"
#include "cache/selection.h"

namespace throughline {
namespace {

class Tova final : public EvictionPolicy {
 public:
  explicit Tova(const Spec& spec) : EvictionPolicy(spec), budget_(spec.integer("budget")) {}

  PolicyNeeds needs() const override { return {.step_attention = true}; }
  KeptScope scope() const override { return KeptScope::kLayer; }
  bool due(const EventClock& clock) const override { return clock.cached > lower_of(budget_, clock); }
  int64_t survivors(const EventClock& clock, int64_t candidates) const override {
    return survivors_within(budget_, clock, candidates);
  }
  at::Tensor scores(const ScoreInputs& in) const override {
    return group_mean(in.attention.narrow(1, in.first_candidate, in.candidates), 1);
  }

 private:
  int64_t budget_;
};

}  // namespace

SpecInfo tova_info() {
  return {"tova",
          "TOVA (arXiv 2401.06104): what the current query attends to least goes, per layer, every step",
          {budget_option(), min_budget_option(), protect_option()}};
}

Result<std::unique_ptr<const EvictionPolicy>> make_tova(const Spec& spec, const std::string&) {
  return std::unique_ptr<const EvictionPolicy>(std::make_unique<Tova>(spec));
}

}  // namespace throughline

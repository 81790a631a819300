#include "cache/policies/streaming.h"

#include <algorithm>

#include "cache/policies/options.h"
#include "cache/selection.h"

namespace throughline {
namespace {

class Streaming final : public EvictionPolicy {
 public:
  explicit Streaming(const Spec& spec)
      : EvictionPolicy(spec),
        budget_(spec.integer("budget")),
        sinks_(spec.integer("sinks")),
        by_rank_(spec.text("rotate") == "cache") {}

  PolicyNeeds needs() const override { return {.unrotated_keys = by_rank_}; }
  KeptScope scope() const override { return KeptScope::kLayer; }
  bool due(const EventClock& clock) const override { return clock.cached > lower_of(budget_, clock); }
  int64_t survivors(const EventClock& clock, int64_t candidates) const override {
    return survivors_within(budget_, clock, candidates);
  }
  at::Tensor scores(const ScoreInputs& in) const override { return position_scores(in); }
  int64_t protected_tokens(int64_t prompt_tokens) const override {
    return std::max(sinks_, EvictionPolicy::protected_tokens(prompt_tokens));
  }

 private:
  int64_t budget_, sinks_;
  bool by_rank_;
};

}  // namespace

SpecInfo streaming_info() {
  return {"streaming",
          "StreamingLLM (arXiv 2309.17453): the first and the newest tokens stay",
          {budget_option(),
           {.name = "sinks", .default_text = "4", .help = "first tokens that stay", .minimum = 0},
           {.name = "rotate",
            .type = OptionType::kChoice,
            .default_text = "true_position",
            .help = "position that rotates keys and queries: the true one, or the place in the cache",
            .choices = {"true_position", "cache"}},
           min_budget_option(),
           protect_option()}};
}

Result<std::unique_ptr<const EvictionPolicy>> make_streaming(const Spec& spec, const std::string&) {
  return std::unique_ptr<const EvictionPolicy>(std::make_unique<Streaming>(spec));
}

}  // namespace throughline

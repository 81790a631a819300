#include "cache/policies/random.h"

#include <ATen/ops/empty.h>

#include "cache/policies/options.h"

namespace throughline {
namespace {

class Random final : public EvictionPolicy {
 public:
  explicit Random(const Spec& spec)
      : EvictionPolicy(spec),
        budget_(spec.integer("budget")),
        interval_(spec.integer("interval")),
        window_(spec.integer("window")),
        shared_(spec.boolean("shared")) {}

  KeptScope scope() const override { return shared_ ? KeptScope::kLayer : KeptScope::kHead; }
  int64_t window() const override { return window_; }
  bool due(const EventClock& clock) const override {
    return clock.decoded % interval_ == 0 && clock.cached > lower_of(budget_, clock);
  }
  int64_t survivors(const EventClock& clock, int64_t candidates) const override {
    return survivors_within(budget_, clock, candidates);
  }

  at::Tensor scores(const ScoreInputs& in) const override {
    const int64_t sets = in.positions.size(0), cached = in.positions.size(1);
    at::Tensor out = at::empty({sets, in.candidates}, at::kFloat);
    float* value = out.data_ptr<float>();
    for (int64_t set = 0; set < sets; ++set) {
      const int64_t* positions = in.positions.data_ptr<int64_t>() + set * cached + in.first_candidate;
      for (int64_t i = 0; i < in.candidates; ++i) {
        *value++ = static_cast<float>(random_uniform(in.random, static_cast<uint64_t>(in.clock.events),
                                                     static_cast<uint32_t>(in.layer), static_cast<uint32_t>(set),
                                                     static_cast<uint64_t>(positions[i])));
      }
    }
    return out;
  }

 private:
  int64_t budget_, interval_, window_;
  bool shared_;
};

}  // namespace

SpecInfo random_info() {
  return {"random",
          "null model: a fresh uniform draw per event (Random Attention, arXiv 2609.03430)",
          {budget_option(),
           {.name = "interval", .default_text = "64", .help = "sampled tokens between events", .minimum = 1},
           {.name = "window", .default_text = "64", .help = "newest tokens always kept", .minimum = 0},
           {.name = "shared",
            .type = OptionType::kBoolean,
            .default_text = "false",
            .help = "one draw for all heads of a layer"},
           min_budget_option(),
           protect_option()}};
}

Result<std::unique_ptr<const EvictionPolicy>> make_random(const Spec& spec, const std::string&) {
  return std::unique_ptr<const EvictionPolicy>(std::make_unique<Random>(spec));
}

}  // namespace throughline

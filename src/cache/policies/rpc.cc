#include "cache/policies/rpc.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cache/policies/options.h"
#include "cache/selection.h"

namespace throughline {
namespace {

class Rpc final : public EvictionPolicy {
 public:
  explicit Rpc(const Spec& spec)
      : EvictionPolicy(spec),
        interval_(spec.integer("interval")),
        window_(spec.integer("window")),
        kernel_(spec.integer("kernel")),
        per_event_(static_cast<int64_t>(std::floor(static_cast<double>(interval_) / spec.number("ratio")))),
        budget_(spec.has("budget") ? spec.integer("budget") : std::numeric_limits<int64_t>::max()),
        per_layer_(spec.text("aggregation") == "all"),
        reference_(spec.text("mode") == "reference") {}

  PolicyNeeds needs() const override { return {.query_window = window_}; }
  KeptScope scope() const override { return per_layer_ ? KeptScope::kLayer : KeptScope::kHead; }
  int64_t window() const override { return window_; }

  bool due(const EventClock& clock) const override {
    return clock.decoded >= interval_ + window_ && (clock.decoded - window_) % interval_ == 0;
  }

  int64_t survivors(const EventClock& clock, int64_t candidates) const override {
    const int64_t grown = std::min(candidates, (clock.events + 1) * per_event_);
    return std::min(grown, survivors_within(budget_, clock, candidates));
  }

  at::Tensor scores(const ScoreInputs& in) const override {
    const at::Tensor votes = candidate_attention(in, selector_rows(in), ops::GroupVote::kEach);
    const at::Tensor mean = group_mean(votes, per_layer_ ? 1 : in.kv_heads);
    return average_pool(mean, kernel_, reference_ ? PoolEdge::kCountPadding : PoolEdge::kRealElements);
  }

 private:
  // The published code starts to collect queries one step late, forgets them at an event, and at the next event appends
  // the current query once more.
  std::vector<int64_t> selector_rows(const ScoreInputs& in) const {
    if (!reference_) return all_rows(in);
    const int64_t decoded = in.clock.decoded;
    const int64_t first = std::max(in.previous_event_decoded + 1, decoded - window_ + 2);
    std::vector<int64_t> rows;
    for (size_t i = 0; i < in.query_steps.size(); ++i) {
      if (in.query_steps[i] >= first) rows.push_back(static_cast<int64_t>(i));
    }
    rows.push_back(static_cast<int64_t>(in.query_steps.size()) - 1);
    return rows;
  }

  int64_t interval_, window_, kernel_;
  int64_t per_event_;  // tokens that stay more after each event
  int64_t budget_;
  bool per_layer_, reference_;
};

}  // namespace

SpecInfo rpc_info() {
  return {"rpc",
          "Reasoning Path Compression (arXiv 2505.13866): recent queries vote at intervals, the cache grows by "
          "interval/ratio",
          {{.name = "interval", .default_text = "1024", .help = "sampled tokens between events", .minimum = 1},
           {.name = "ratio",
            .type = OptionType::kNumber,
            .default_text = "4",
            .help = "of each interval, floor(interval / ratio) tokens more are kept",
            .minimum = 1},
           voters_option("32"),
           {.name = "kernel",
            .default_text = "7",
            .help = "width of the average pool over scores, odd; 1: none",
            .minimum = 1},
           {.name = "aggregation",
            .type = OptionType::kChoice,
            .default_text = "all",
            .help = "one kept set for all heads of a layer, or one for each KV head",
            .choices = {"all", "group"}},
           {.name = "mode",
            .type = OptionType::kChoice,
            .default_text = "fixed",
            .help = "reference: the published code, quirks included",
            .choices = {"fixed", "reference"}},
           {.name = "budget", .help = "most cached tokens per layer and head after an event", .minimum = 1},
           min_budget_option(),
           protect_option()}};
}

Result<std::unique_ptr<const EvictionPolicy>> make_rpc(const Spec& spec, const std::string& where) {
  TL_TRY_STATUS(check_odd(spec, "kernel", spec.integer("kernel"), where));
  return std::unique_ptr<const EvictionPolicy>(std::make_unique<Rpc>(spec));
}

}  // namespace throughline

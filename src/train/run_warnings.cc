#include "train/run_warnings.h"

#include <fmt/core.h>

#include <cmath>

#include "base/number_text.h"

namespace throughline {
namespace {

std::string share(double value) { return fit_share(value, 6); }

void check_finite(const StepMetrics& metrics, std::vector<RunWarning>& out) {
  for (const std::string_view name : {"loss", "grad_norm", "reward"}) {
    for (const auto& [key, value] : metrics.values) {
      if (key != name || std::isfinite(value)) continue;
      out.push_back({name, fmt::format("{} is not a finite number", name),
                     "lower optimizer.lr, keep optimizer.clip_norm on, try model.dtype = \"fp32\""});
    }
  }
}

void check_gap(const StepMetrics& metrics, const WarningOptions& options, std::vector<RunWarning>& out) {
  const double mean = metrics.get("logprob_gap_mean"), most = metrics.get("logprob_gap_max");
  if (options.exact && (mean > 0 || most > 0)) {
    out.push_back({"logprob_gap_mean",
                   fmt::format("sampler and trainer differ by up to {} nats a token, and --exact promises 0",
                               fit_number(std::fmax(mean, most), 8, 4)),
                   "this is a fault of the program: keep the run directory and report it"});
  } else if (mean > options.gap_mean) {
    out.push_back(
        {"logprob_gap_mean",
         fmt::format("sampler and trainer differ by {} nats a token on average (limit {}): the update corrects "
                     "for a model that did not sample",
                     fit_number(mean, 8, 4), fit_number(options.gap_mean, 8, 4)),
         "see whether --exact brings it to 0; if so, model.dtype = \"fp32\" or a lower learning rate helps, and "
         "grpo.correction bounds the harm"});
  }
}

void check_rewards(const StepMetrics& metrics, const WarningOptions& options, std::vector<RunWarning>& out) {
  const double flat = metrics.get("zero_variance_groups"), reward = metrics.get("reward");
  const std::string easier =
      reward > 0.5 ? "raise the task's difficulty" : "lower the task's difficulty, or warm-start longer";
  const bool spread_known = metrics.has("reward_min") && metrics.has("reward_max");
  if (spread_known && metrics.get("reward_min") == metrics.get("reward_max")) {
    out.push_back({"zero_variance_groups",
                   fmt::format("all rewards of the step are {}: it has no gradient", fit_number(reward, 8, 3)),
                   easier + "; a mix of difficulties ([[task]] several times) gives contrast"});
  } else if (flat >= 1) {
    out.push_back({"zero_variance_groups", "in every group all rewards are equal: the step has no gradient",
                   easier + ", raise grpo.group or rollout.temperature"});
  } else if (flat > options.zero_variance) {
    out.push_back({"zero_variance_groups",
                   fmt::format("in {} of the groups all rewards are equal: they were sampled for nothing", share(flat)),
                   easier + ", raise grpo.group, or set grpo.zero_variance = \"resample\""});
  }
}

}  // namespace

std::vector<RunWarning> find_warnings(const StepMetrics& metrics, const WarningOptions& options) {
  std::vector<RunWarning> out;
  check_finite(metrics, out);
  const double truncated = metrics.get("truncated"), no_answer = metrics.get("no_answer");
  if (truncated > options.truncated) {
    out.push_back({"truncated",
                   fmt::format("{} of the traces were cut off by a limit: most earn nothing whatever they thought",
                               share(truncated)),
                   "raise rollout.max_tokens (delethink: max_chunks), or take shorter tasks; grpo.overlong = \"mask\" "
                   "keeps cut traces out of the loss"});
  }
  check_rewards(metrics, options, out);
  check_gap(metrics, options, out);
  if (no_answer - (truncated > 0 ? truncated : 0) > options.no_answer) {  // a cut trace has no answer either
    out.push_back({"no_answer",
                   fmt::format("{} of the traces ended without an answer in the asked form", share(no_answer)),
                   "look at some with `throughline train view`; warm-start on the form, or set grpo.format_share"});
  }
  return out;
}

}  // namespace throughline

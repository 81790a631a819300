#include "train/step_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/files.h"
#include "base/json.h"
#include "text/json_fields.h"

namespace throughline {
namespace {

constexpr size_t kFileLimit = size_t{256} << 20;  // bytes: half a million steps
constexpr size_t kLineLimit = size_t{1} << 20;

constexpr MetricInfo kMetrics[] = {
    {"reward", "Reward", "reward", "rollout", MetricKind::kNumber, "mean reward of the step's traces"},
    {"reward_min", "Smallest reward", "smallest", "rollout", MetricKind::kNumber, "of the step's traces"},
    {"reward_max", "Largest reward", "largest", "rollout", MetricKind::kNumber, "of the step's traces"},
    {"accuracy", "Accuracy", "sampled", "rollout", MetricKind::kShare,
     "share of the step's traces judged right, 0 to 1"},
    {"trace_tokens_mean", "Tokens a trace", "tokens", "rollout", MetricKind::kCount,
     "mean tokens of a trace, over all chunks"},
    {"chunks_mean", "Chunks a trace", "chunks", "rollout", MetricKind::kNumber, "mean chunks of a trace"},
    {"truncated", "Cut off", "cut off", "rollout", MetricKind::kShare, "share of the traces that a limit cut off"},
    {"no_answer", "No answer", "no answer", "rollout", MetricKind::kShare, "share of the traces without an answer"},
    {"zero_variance_groups", "Flat groups", "flat", "rollout", MetricKind::kShare,
     "share of the groups whose rewards are all equal: they carry no gradient"},
    {"traces", "Traces a step", "traces", "rollout", MetricKind::kCount, "traces sampled"},
    {"sampled_tokens", "Tokens sampled a step", "sampled", "rollout", MetricKind::kCount, "tokens sampled"},
    {"groups_left_out", "Groups left out", "groups", "rollout", MetricKind::kCount, "groups not trained on"},
    {"traces_left_out", "Traces left out", "traces", "rollout", MetricKind::kCount, "traces not trained on"},
    {"eval_accuracy", "Held-out accuracy", "held out", "evaluation", MetricKind::kShare,
     "share judged right of items that are not trained on, 0 to 1"},
    {"eval_loss", "Held-out loss", "held out", "evaluation", MetricKind::kNumber,
     "the loss on items that are not trained on"},
    {"eval_truncated", "Held-out traces cut off", "held out", "evaluation", MetricKind::kShare,
     "share of the held-out traces that a limit cut off"},
    {"eval_tokens_mean", "Tokens a held-out trace", "held out", "evaluation", MetricKind::kCount,
     "mean tokens of a held-out trace"},
    {"eval_s", "Seconds of an evaluation", "evaluation", "evaluation", MetricKind::kSeconds, "seconds"},
    {"loss", "Loss", "trained", "update", MetricKind::kNumber, "the loss that was minimised"},
    {"entropy", "Entropy, nats a token", "entropy", "update", MetricKind::kNumber,
     "mean entropy of the trained tokens, in nats"},
    {"logprob_gap_mean", "Mean log-prob gap, nats", "mean", "update", MetricKind::kNumber,
     "mean of |sampler's log-prob - trainer's| over tokens of rows that the same weights sampled, in nats; 0 with "
     "--exact"},
    {"logprob_gap_max", "Largest log-prob gap, nats", "largest", "update", MetricKind::kNumber,
     "the largest such difference"},
    {"staleness_mean", "Staleness of the rows, updates", "mean", "update", MetricKind::kNumber,
     "mean number of updates that the weights have gone on since a row was sampled"},
    {"staleness_max", "Largest staleness, updates", "largest", "update", MetricKind::kCount,
     "the largest such number; with rollout.ahead up to 2 grpo.updates - 1, else up to grpo.updates - 1"},
    {"kl", "KL from the reference, nats a token", "KL", "update", MetricKind::kNumber,
     "KL from the reference model (k3), in nats a token"},
    {"clip_share", "Clipped tokens", "clipped", "update", MetricKind::kShare,
     "share of the tokens whose ratio was clipped"},
    {"correction_mean", "Importance correction", "mean", "update", MetricKind::kNumber,
     "mean weight by which sampler and trainer's difference is corrected"},
    {"grad_norm", "Gradient norm", "norm", "update", MetricKind::kNumber, "norm of the gradient before clipping"},
    {"learning_rate", "Learning rate", "rate", "update", MetricKind::kNumber, "of the step"},
    {"skipped", "Updates skipped", "skipped", "update", MetricKind::kCount, "updates skipped: gradient not finite"},
    {"trained_tokens", "Tokens trained a step", "trained", "update", MetricKind::kCount, "tokens with a loss"},
    {"fed_tokens", "Tokens fed a step", "fed", "update", MetricKind::kCount, "tokens of all rows"},
    {"rows", "Rows a step", "rows", "update", MetricKind::kCount, "training rows: one a chunk"},
    {"tokens_per_s", "Tokens a second", "tokens", "speed", MetricKind::kRate,
     "tokens a second: sampled (GRPO) or fed (SFT)"},
    {"rollout_s", "Seconds of sampling", "sampling", "speed", MetricKind::kSeconds, "seconds of sampling"},
    {"wait_s", "Seconds of waiting for traces", "waiting", "speed", MetricKind::kSeconds,
     "seconds that the step stood still for its traces; less than rollout_s where they were sampled ahead"},
    {"update_s", "Seconds of the update", "update", "speed", MetricKind::kSeconds, "seconds of the update"},
    {"step_s", "Seconds of the step", "step", "speed", MetricKind::kSeconds, "seconds of the whole step"},
    {"elapsed_s", "Seconds so far", "elapsed", "speed", MetricKind::kSeconds,
     "seconds since the run began, pauses not counted"},
    {"peak_rss_mib", "Peak memory, MiB", "memory", "speed", MetricKind::kMebibytes,
     "most memory the process has held, in MiB"},
    {"weight_version", "Weight version", "version", "speed", MetricKind::kCount, "updates that the weights have seen"},
};

}  // namespace

void StepMetrics::set(std::string_view name, double value) {
  const auto it = std::find_if(values.begin(), values.end(), [&](const auto& entry) { return entry.first == name; });
  if (it != values.end()) {
    it->second = value;
  } else {
    values.emplace_back(name, value);
  }
}

double StepMetrics::get(std::string_view name) const {
  for (const auto& [key, value] : values) {
    if (key == name) return value;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

bool StepMetrics::lists(std::string_view name) const {
  return std::any_of(values.begin(), values.end(), [&](const auto& entry) { return entry.first == name; });
}

bool StepMetrics::has(std::string_view name) const { return std::isfinite(get(name)); }

std::span<const MetricInfo> known_metrics() { return kMetrics; }

const MetricInfo* find_metric(std::string_view name) {
  for (const MetricInfo& info : kMetrics) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

std::string tensorboard_tag(std::string_view name) {
  const MetricInfo* info = find_metric(name);
  return std::string(info != nullptr ? info->group : "other") + "/" + std::string(name);
}

std::string write_step_metrics(const StepMetrics& metrics) {
  Json json = {{"step", metrics.step}};
  for (const auto& [name, value] : metrics.values) json[name] = std::isfinite(value) ? Json(value) : Json(nullptr);
  return dump_json(json);
}

Result<StepMetrics> parse_step_metrics(std::string_view line, const std::string& where) {
  if (line.size() > kLineLimit) return Error{"the line is longer than 1 MiB", where, ""};
  TL_TRY(const Json json, parse_json(line, where));
  JsonFields fields(json, where);
  StepMetrics metrics;
  metrics.step = fields.integer("step", -1, 0, int64_t{1} << 53);
  TL_TRY_STATUS(fields.status());
  if (metrics.step < 0) return Error{"has no \"step\"", where, ""};
  for (const auto& [name, value] : json.items()) {
    if (name == "step") continue;
    if (value.is_number()) metrics.values.emplace_back(name, value.get<double>());
    if (value.is_null()) metrics.values.emplace_back(name, std::numeric_limits<double>::quiet_NaN());
  }  // texts and lists are other programs' additions
  return metrics;
}

Result<RunMetrics> read_run_metrics(const std::string& path) {
  TL_TRY(const std::string text, read_file(path, kFileLimit));
  RunMetrics out;
  std::map<int64_t, StepMetrics> steps;
  int64_t bad = 0, number = 0;
  std::string first;
  for (size_t from = 0; from < text.size();) {
    const size_t end = std::min(text.find('\n', from), text.size());
    const std::string_view line = std::string_view(text).substr(from, end - from);
    from = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto read = parse_step_metrics(line, path + " line " + std::to_string(number));
    if (read.ok()) {
      const int64_t step = read->step;
      steps.insert_or_assign(step, std::move(*read));
    } else if (++bad == 1) {
      first = read.error().line();
    }
  }
  out.steps.reserve(steps.size());
  for (auto& [step, metrics] : steps) out.steps.push_back(std::move(metrics));
  if (bad == 1) out.skipped = "skipped a bad line: " + first;
  if (bad > 1) out.skipped = "skipped " + std::to_string(bad) + " bad lines, the first: " + first;
  return out;
}

std::vector<double> elapsed_seconds(std::span<const StepMetrics> steps) {
  std::vector<double> out;
  double total = 0;
  for (const StepMetrics& step : steps) {
    const auto add = [&](std::string_view name) { total += step.has(name) ? step.get(name) : 0; };
    if (step.has("elapsed_s")) {
      total = step.get("elapsed_s");
    } else if (step.has("rollout_s") || step.has("update_s")) {
      add("rollout_s");
      add("update_s");
    } else {
      add("step_s");
    }
    out.push_back(total);
  }
  return out;
}

}  // namespace throughline

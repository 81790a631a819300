// What one step of a run measured: named numbers, as metrics.jsonl holds them, one line a step. The table, the plots
// and TensorBoard all take these; known_metrics() says what the usual names mean. docs/reading-a-run.md is the
// contract.
//
// Names are free: SFT has `loss`, GRPO has `reward`; what is unknown here is written, drawn on request and never lost.
// metrics.jsonl is untrusted when read: a bad line is skipped and told, a step that comes again replaces the earlier
// one (a run that was killed and resumed). Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace throughline {

struct StepMetrics {
  int64_t step = 0;                                    // counts from 1
  std::vector<std::pair<std::string, double>> values;  // in the order in which they were set

  void set(std::string_view name, double value);  // replaces an earlier one
  double get(std::string_view name) const;        // NaN: not there, or not a number
  bool lists(std::string_view name) const;        // there, whatever its value
  bool has(std::string_view name) const;          // there, and a finite number
};

enum class MetricKind { kNumber, kShare, kCount, kRate, kSeconds, kMebibytes };

struct MetricInfo {
  std::string_view name;   // in metrics.jsonl
  std::string_view title;  // of its own plot
  std::string_view label;  // in the legend of a plot with others of its kind
  std::string_view group;  // TensorBoard's tag is "group/name"
  MetricKind kind = MetricKind::kNumber;
  std::string_view help;  // one line, with its unit
};

std::span<const MetricInfo> known_metrics();
const MetricInfo* find_metric(std::string_view name);  // nullptr: not a usual name
std::string tensorboard_tag(std::string_view name);    // "rollout/reward"; unknown names: "other/NAME"

// {"step":12,"reward":0.5,...}; what is not finite is null.
std::string write_step_metrics(const StepMetrics& metrics);
Result<StepMetrics> parse_step_metrics(std::string_view line, const std::string& where);

struct RunMetrics {
  std::vector<StepMetrics> steps;  // ascending, each once
  std::string skipped;             // one line about bad lines; empty: there were none
};
Result<RunMetrics> read_run_metrics(const std::string& path);

// Seconds of the run at the end of each step: `elapsed_s` where a step has it, else rollout_s + update_s (SFT: step_s)
// added to the step before.
std::vector<double> elapsed_seconds(std::span<const StepMetrics> steps);

}  // namespace throughline

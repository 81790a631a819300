// What a step's metrics say is going wrong, each with what to do about it. Pure; the thresholds are options.
// Why these: they are how runs of other trainers fail in silence (research/delethink.md C.3).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "train/step_metrics.h"

namespace throughline {

struct WarningOptions {
  double truncated = 0.5;      // share of traces cut off, above which is too much
  double no_answer = 0.5;      // share of traces that ended by themselves without an answer
  double zero_variance = 0.5;  // share of groups without contrast
  double gap_mean = 0.1;       // nats between sampler and trainer, per token; the recipe's grpo.gap_warning
  bool exact = false;          // --exact promises a gap of 0: any other is told
};

struct RunWarning {
  std::string_view metric;  // whose number it is about
  std::string what;         // "72.5% of the traces were cut off by a limit"
  std::string remedy;       // "raise rollout.max_tokens ..."
};

// The worst first; at most one a metric.
std::vector<RunWarning> find_warnings(const StepMetrics& metrics, const WarningOptions& options);

}  // namespace throughline

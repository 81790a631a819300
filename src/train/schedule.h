// Learning rates over a run: warm-up from 0, then constant, linear or cosine decay. Pure functions of the step.
#pragma once

#include <cstdint>

namespace throughline {

enum class ScheduleKind { kConstant, kLinear, kCosine };

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kConstant;
  double learning_rate = 1e-6;  // the peak
  int64_t warmup_steps = 0;     // step s < warmup_steps runs at (s + 1) / warmup_steps of the peak
  int64_t total_steps = 0;      // where the decay ends; looked at unless kConstant
  double final_fraction = 0;    // of the peak, at total_steps and after
};
// `step` counts optimizer steps from 0.
double learning_rate_at(const ScheduleOptions& options, int64_t step);

}  // namespace throughline

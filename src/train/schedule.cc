#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace throughline {

double learning_rate_at(const ScheduleOptions& options, int64_t step) {
  const double peak = options.learning_rate;
  if (step < options.warmup_steps)
    return peak * static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  if (options.kind == ScheduleKind::kConstant) return peak;
  const int64_t decay_steps = std::max<int64_t>(1, options.total_steps - options.warmup_steps);
  const double done =
      std::min(1.0, static_cast<double>(step - options.warmup_steps) / static_cast<double>(decay_steps));
  const double left = options.kind == ScheduleKind::kLinear ? 1 - done : 0.5 * (1 + std::cos(std::numbers::pi * done));
  return peak * (options.final_fraction + (1 - options.final_fraction) * left);
}

}  // namespace throughline

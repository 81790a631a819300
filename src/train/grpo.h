// Group relative policy optimisation: rollouts, rewards, advantages, rows, optimizer steps. Every variant is an option
// of the recipe's [grpo]; formulas in advantage.h, token_loss.h, aggregation.h.
//
// One trace gives one row a chunk, all with its advantage; they stay in one optimizer step. Nothing is dropped in
// silence: groups and traces that are left out are counted in the metrics (groups_left_out, traces_left_out).
#pragma once

#include "train/train_run.h"

namespace throughline {

// Samples of one prompt.
struct RolloutGroup {
  TrainItem item;
  std::vector<Rollout> rollouts;
  std::vector<double> rewards;
  std::vector<float> advantages;
  bool zero_variance = false;
  bool left_out = false;  // zero_variance=skip or resample
};

// Rewards, then advantages, of the group's rollouts as the recipe says. `most_tokens`: what a trace may have.
void score_group(const GrpoSection& options, int64_t most_tokens, RolloutGroup& group);

// The rows of each optimizer step: traces in order of (group, sample), split evenly; a trace's rows stay together.
// Takes the traces of the groups. Left-out groups and, with overlong=mask, truncated traces give none.
struct GrpoBatch {
  std::vector<std::vector<TrainRow>> updates;  // [grpo.updates], some may be empty
  int64_t traces = 0, traces_left_out = 0;
};
Result<GrpoBatch> rows_of_groups(const GrpoSection& options, std::vector<RolloutGroup>& groups);

Result<StepMetrics> grpo_step(TrainRun& run);

}  // namespace throughline

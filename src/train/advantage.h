// From the rewards of a group (samples of one prompt) to advantages, and what a truncated trace's reward becomes.
//
// Pure functions, no tensors. Group-relative advantage: GRPO (arXiv 2402.03300), Delethink's trainer (research/
// delethink.md A.4: unbiased deviation, epsilon 1e-6); no-std: Dr.GRPO (arXiv 2503.20783); leave-one-out: RLOO (arXiv
// 2402.14740). A group of one has no baseline: its advantage is its reward (as verl); recipes ask for two and more.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace throughline {

struct GroupStatistics {
  double mean = 0;
  double deviation = 0;       // unbiased (n - 1); 0 for a group of one
  bool zero_variance = true;  // all rewards are the same: no signal under any kind of advantage
};
GroupStatistics group_statistics(std::span<const double> rewards);

enum class AdvantageKind {
  kGroupNorm,    // (r - mean) / (deviation + epsilon)
  kGroupMean,    // r - mean
  kLeaveOneOut,  // r - mean of the others
};

struct AdvantageOptions {
  AdvantageKind kind = AdvantageKind::kGroupNorm;
  double epsilon = 1e-6;
};
std::vector<float> group_advantages(std::span<const double> rewards, const AdvantageOptions& options);

// Traces that ended at their token limit. Masked ones still count in their group's statistics (as verl's
// filter_overlong_trajectories) but get no gradient: the loop clears TrainRow::trained.
enum class OverlongKind { kKeep, kMask, kPenalise };

struct OverlongOptions {
  OverlongKind kind = OverlongKind::kKeep;
  int64_t soft_tokens = 0;  // kPenalise: the last tokens before the limit over which the penalty grows from 0
  double penalty = 1;       // kPenalise: what is taken off at the limit
};
// DAPO's soft overlong punishment (arXiv 2503.14476, equation 13), <= 0, to be added to the reward: 0 up to
// max_tokens - soft_tokens, then linear, -penalty at max_tokens and beyond (soft_tokens 0: a step). 0 unless kPenalise.
double overlong_reward(int64_t trace_tokens, int64_t max_tokens, const OverlongOptions& options);

}  // namespace throughline

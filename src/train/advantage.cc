#include "train/advantage.h"

#include <algorithm>
#include <cmath>

namespace throughline {

GroupStatistics group_statistics(std::span<const double> rewards) {
  GroupStatistics out;
  if (rewards.empty()) return out;
  const auto n = static_cast<double>(rewards.size());
  for (const double reward : rewards) out.mean += reward;
  out.mean /= n;
  double squares = 0;
  for (const double reward : rewards) squares += (reward - out.mean) * (reward - out.mean);
  if (rewards.size() > 1) out.deviation = std::sqrt(squares / (n - 1));
  out.zero_variance = std::all_of(rewards.begin(), rewards.end(), [&](double r) { return r == rewards.front(); });
  if (out.zero_variance) {  // a sum of equal numbers may round; their mean and spread are known
    out.mean = rewards.front();
    out.deviation = 0;
  }
  return out;
}

std::vector<float> group_advantages(std::span<const double> rewards, const AdvantageOptions& options) {
  std::vector<float> out;
  if (rewards.size() == 1) return {static_cast<float>(rewards.front())};
  const GroupStatistics group = group_statistics(rewards);
  const auto n = static_cast<double>(rewards.size());
  for (const double reward : rewards) {
    double advantage = reward - group.mean;
    if (options.kind == AdvantageKind::kGroupNorm) advantage /= group.deviation + options.epsilon;
    if (options.kind == AdvantageKind::kLeaveOneOut) advantage *= n / (n - 1);
    out.push_back(static_cast<float>(advantage));
  }
  return out;
}

double overlong_reward(int64_t trace_tokens, int64_t max_tokens, const OverlongOptions& options) {
  if (options.kind != OverlongKind::kPenalise) return 0;
  if (trace_tokens >= max_tokens) return -options.penalty;
  const int64_t into = trace_tokens - (max_tokens - options.soft_tokens);
  if (into <= 0) return 0;
  return -options.penalty * static_cast<double>(into) / static_cast<double>(options.soft_tokens);
}

}  // namespace throughline

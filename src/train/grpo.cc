#include "train/grpo.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "train/advantage.h"
#include "train/packing.h"
#include "train/rows_from_trace.h"
#include "train/trace_line.h"

namespace throughline {
namespace {

double reward_of(const GrpoSection& options, int64_t most_tokens, const Rollout& rollout) {
  double reward = task_reward(rollout.verdict, options.format_share);
  if (options.overlong == OverlongKind::kPenalise) {
    const OverlongOptions overlong{OverlongKind::kPenalise, options.overlong_soft_tokens, options.overlong_penalty};
    reward += rollout.truncated ? -options.overlong_penalty
                                : overlong_reward(rollout.result.trace.tokens(), most_tokens, overlong);
  }
  return reward;
}

// Of a round of prompts of a step.
uint64_t seed_of(const TrainRun& run, int64_t step, int64_t round) {
  return random_bits(
      {run.recipe.run.seed, static_cast<uint64_t>(step), static_cast<uint64_t>(round), RngPurpose::kSample});
}

// `count` new groups; those that start_ahead() began are taken.
Result<std::vector<RolloutGroup>> sample_groups(TrainRun& run, int64_t count, int64_t round) {
  const GrpoSection& options = run.recipe.grpo;
  std::vector<TrainItem> items = run.take_items(count);
  TL_TRY(auto rollouts, run.rollouts->started()
                            ? run.rollouts->take(run.items)
                            : run.rollouts->run(run.items, items, options.group, seed_of(run, run.step + 1, round),
                                                run.recipe.rollout.temperature));
  std::vector<RolloutGroup> groups(items.size());
  for (size_t i = 0; i < items.size(); ++i) groups[i].item = std::move(items[i]);
  for (Rollout& rollout : rollouts) groups[static_cast<size_t>(rollout.group)].rollouts.push_back(std::move(rollout));
  for (RolloutGroup& group : groups) {
    const auto query = static_cast<int64_t>(group.rollouts.front().result.trace.query_ids.size());
    score_group(options, run.rollouts->most_tokens(query), group);
    group.left_out = group.zero_variance && options.zero_variance != ZeroVariance::kKeep;
  }
  return groups;
}

// The step's groups; with zero_variance=resample, more rounds until enough of them have contrast.
Result<std::vector<RolloutGroup>> collect(TrainRun& run) {
  const GrpoSection& options = run.recipe.grpo;
  TL_TRY(std::vector<RolloutGroup> groups, sample_groups(run, options.prompts, 0));
  if (options.zero_variance != ZeroVariance::kResample) return groups;
  for (int64_t round = 1; round <= options.resample_max; ++round) {
    const auto useful = std::count_if(groups.begin(), groups.end(), [](const auto& group) { return !group.left_out; });
    if (useful >= options.prompts) break;
    TL_TRY(std::vector<RolloutGroup> more, sample_groups(run, options.prompts - useful, round));
    for (RolloutGroup& group : more) groups.push_back(std::move(group));
  }
  return groups;
}

// Begins the next step's first round on a copy of the present weights, which is the one other version there is: the
// update changes the model itself.
void start_ahead(TrainRun& run, int threads) {
  if (!run.behind) {
    run.behind = run.model.decoder->clone();
  } else {
    const at::NoGradGuard guard;
    const auto from = run.model.decoder->parameters(), to = run.behind->parameters();
    for (size_t i = 0; i < to.size(); ++i) to[i].second.copy_(from[i].second);
  }
  run.rollouts->use_weights({run.behind.get(), run.weight_version});
  run.rollouts->start(run.next_items(run.recipe.grpo.prompts), run.recipe.grpo.group, seed_of(run, run.step + 2, 0),
                      run.recipe.rollout.temperature, threads);
}

// With rollout.ahead, until it goes: the next step is being sampled, and the update has the threads that are left.
class SamplingAhead {
 public:
  explicit SamplingAhead(TrainRun& run) : threads_(static_cast<int>(run.recipe.run.threads)) {
    if (run.recipe.rollout.ahead == 0 || run.step + 1 >= run.steps) return;
    const auto wanted = static_cast<int>(run.recipe.rollout.ahead_threads);
    const int ahead = wanted > 0 ? wanted : std::max(1, threads_ / 2);
    start_ahead(run, ahead);
    at::set_num_threads(std::max(1, threads_ - ahead));
  }
  ~SamplingAhead() { at::set_num_threads(threads_); }
  SamplingAhead(const SamplingAhead&) = delete;
  SamplingAhead& operator=(const SamplingAhead&) = delete;

 private:
  int threads_;
};

Status write_traces(TrainRun& run, const std::vector<RolloutGroup>& groups) {
  if (!run.is_first()) return {};
  const Spec& think = run.rollouts->environment().spec();
  const int64_t head = think.has("head") ? think.integer("head") : 0;
  int64_t index = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    const RolloutGroup& group = groups[g];
    for (size_t i = 0; i < group.rollouts.size(); ++i) {
      TraceLine line;
      line.step = run.step + 1;
      line.index = index++;
      line.group = static_cast<int64_t>(g);
      line.task = group.item.task;
      line.prompt = group.item.prompt;
      line.gold = group.item.gold;
      line.reward = group.rewards[i];
      line.advantage = group.advantages[i];
      line.verdict = verdict_name(group.rollouts[i].verdict);
      set_trace(line, group.rollouts[i].result.trace, head, run.model.tokenizer.get());
      TL_TRY_STATUS(run.directory.write_trace(write_trace_line(line)));
    }
  }
  return {};
}

// What the rollouts say, before anything is taken from them.
void count_rollouts(const std::vector<RolloutGroup>& groups, StepMetrics& out) {
  double reward = 0, right = 0, tokens = 0, chunks = 0, truncated = 0, no_answer = 0, flat = 0, left_out = 0,
         traces = 0;
  double lowest = INFINITY, highest = -INFINITY;
  for (const RolloutGroup& group : groups) {
    flat += group.zero_variance;
    left_out += group.left_out;
    for (size_t i = 0; i < group.rollouts.size(); ++i) {
      const Rollout& rollout = group.rollouts[i];
      ++traces;
      reward += group.rewards[i];
      lowest = std::min(lowest, group.rewards[i]);
      highest = std::max(highest, group.rewards[i]);
      right += rollout.verdict == TaskVerdict::kRight;
      no_answer += rollout.verdict == TaskVerdict::kNoAnswer;
      truncated += rollout.truncated;
      tokens += static_cast<double>(rollout.result.trace.tokens());
      chunks += static_cast<double>(rollout.result.trace.chunks.size());
    }
  }
  out.set("reward", reward / traces);
  out.set("reward_min", lowest);
  out.set("reward_max", highest);
  out.set("accuracy", right / traces);
  out.set("trace_tokens_mean", tokens / traces);
  out.set("chunks_mean", chunks / traces);
  out.set("truncated", truncated / traces);
  out.set("no_answer", no_answer / traces);
  out.set("zero_variance_groups", flat / static_cast<double>(groups.size()));
  out.set("groups_left_out", left_out);
  out.set("traces", traces);
  out.set("sampled_tokens", tokens);
}

// With one optimizer step a rollout the old policy is the present one (UpdateOptions::old_is_present).
bool needs_old_logprobs(const GrpoSection& options) {
  return options.old_logprobs == OldLogprobs::kTrainer && options.updates > 1;
}

// Log-probs before the first optimizer step: of the old policy where a later one needs them, and of the reference.
// Each process fills in the rows of its share of the update.
void fill_logprobs(TrainRun& run, std::vector<std::vector<TrainRow>>& updates) {
  const bool old = needs_old_logprobs(run.recipe.grpo);
  if (!old && !run.reference) return;
  const AttentionFactory attention = row_attention_factory(run.mode());
  for (auto& rows : updates) {
    for (const MicroBatch& batch : run.own_batches(rows)) {
      const auto place = [&](size_t i) { return static_cast<size_t>(batch[i] - rows.data()); };
      if (old) {
        auto values = run.updater->logprobs(batch);
        for (size_t i = 0; i < batch.size(); ++i) rows[place(i)].old_logprobs = std::move(values[i]);
      }
      if (run.reference) {
        auto values = row_logprobs(*run.reference, batch, attention, run.recipe.rollout.temperature, run.mode());
        for (size_t i = 0; i < batch.size(); ++i) rows[place(i)].reference_logprobs = std::move(values[i]);
      }
    }
  }
}

// Sums over the optimizer steps, weighted by trained tokens.
struct StepSums {
  double tokens = 0, fed = 0, rows = 0, updates = 0, skipped = 0, staleness = 0, staleness_max = 0;
  double loss = 0, entropy = 0, gap = 0, gap_tokens = 0, gap_max = 0, clipped = 0, correction = 0, kl = 0, norm = 0,
         rate = 0;

  void add(const UpdateStats& stats) {
    const auto n = static_cast<double>(stats.trained_tokens);
    tokens += n, fed += static_cast<double>(stats.fed_tokens), rows += static_cast<double>(stats.rows);
    ++updates, skipped += stats.skipped;
    loss += stats.loss, norm += stats.grad_norm, rate = stats.learning_rate;
    entropy += n * stats.entropy, clipped += n * stats.clip_fraction;
    correction += n * stats.correction_mean, kl += n * stats.kl;
    if (stats.gap_tokens == 0) return;
    const auto compared = static_cast<double>(stats.gap_tokens);
    gap += compared * stats.gap_mean, gap_tokens += compared;
    gap_max = std::max(gap_max, stats.gap_max);
  }

  // Optimizer steps that the weights have gone on since each row was sampled.
  void add_staleness(const std::vector<TrainRow>& batch, int64_t version) {
    for (const TrainRow& row : batch) {
      const auto steps = static_cast<double>(version - row.weight_version);
      staleness += steps;
      staleness_max = std::max(staleness_max, steps);
    }
  }

  void write(StepMetrics& out) const {
    const double n = std::max(1.0, tokens), steps = std::max(1.0, updates);
    out.set("loss", loss / steps);
    out.set("entropy", entropy / n);
    out.set("logprob_gap_mean", gap_tokens > 0 || tokens == 0 ? gap / std::max(1.0, gap_tokens) : NAN);
    out.set("logprob_gap_max", gap_tokens > 0 || tokens == 0 ? gap_max : NAN);
    out.set("staleness_mean", staleness / std::max(1.0, rows));
    out.set("staleness_max", staleness_max);
    out.set("clip_share", clipped / n);
    out.set("correction_mean", tokens > 0 ? correction / n : 1);
    out.set("kl", kl / n);
    out.set("grad_norm", norm / steps);
    out.set("learning_rate", rate);
    out.set("skipped", skipped);
    out.set("trained_tokens", tokens);
    out.set("fed_tokens", fed);
    out.set("rows", rows);
  }
};

}  // namespace

void score_group(const GrpoSection& options, int64_t most_tokens, RolloutGroup& group) {
  group.rewards.clear();
  for (const Rollout& rollout : group.rollouts) group.rewards.push_back(reward_of(options, most_tokens, rollout));
  group.zero_variance = group_statistics(group.rewards).zero_variance;
  group.advantages = group_advantages(group.rewards, {.kind = options.advantage});
}

Result<GrpoBatch> rows_of_groups(const GrpoSection& options, std::vector<RolloutGroup>& groups) {
  struct Chosen {
    RolloutGroup* group;
    size_t sample;
  };
  std::vector<Chosen> chosen;
  GrpoBatch out;
  for (RolloutGroup& group : groups) {
    for (size_t i = 0; i < group.rollouts.size(); ++i) {
      const bool masked = options.overlong == OverlongKind::kMask && group.rollouts[i].truncated;
      if (group.left_out || masked) {
        ++out.traces_left_out;
      } else {
        chosen.push_back({&group, i});
      }
    }
  }
  out.traces = static_cast<int64_t>(chosen.size());
  for (const TraceRange& range : split_traces(out.traces, options.updates)) {
    std::vector<TrainRow>& rows = out.updates.emplace_back();
    for (int64_t t = range.from; t < range.to; ++t) {
      const auto [group, sample] = chosen[static_cast<size_t>(t)];
      TL_TRY(auto made, rows_from_trace(std::move(group->rollouts[sample].result), t - range.from));
      for (TrainRow& row : made) {
        row.advantage = group->advantages[sample];
        rows.push_back(std::move(row));
      }
    }
  }
  return out;
}

Result<StepMetrics> grpo_step(TrainRun& run) {
  const GrpoSection& options = run.recipe.grpo;
  StepMetrics out;
  const Stopwatch wait_watch;
  const double sampled_before_s = run.rollouts->sampling_s();
  TL_TRY(std::vector<RolloutGroup> groups, collect(run));
  const double wait_s = wait_watch.seconds();
  const double rollout_s = std::max(wait_s, run.rollouts->sampling_s() - sampled_before_s);
  const SamplingAhead ahead(run);
  count_rollouts(groups, out);
  TL_TRY_STATUS(write_traces(run, groups));

  const Stopwatch update_watch;
  auto made = rows_of_groups(options, groups);
  if (!made.ok()) return run.diverged("the log-prob of a sampled token is not finite");  // it was asked for
  GrpoBatch batch = std::move(made).value();
  StepSums sums;
  for (size_t u = 0; u < batch.updates.size(); ++u) {
    const int64_t version = run.weight_version + static_cast<int64_t>(u);
    sums.add_staleness(batch.updates[u], version);
    const int64_t old_version = needs_old_logprobs(options) ? run.weight_version : version;
    for (TrainRow& row : batch.updates[u]) row.gap_counts = row.weight_version == old_version;
  }
  fill_logprobs(run, batch.updates);
  for (const auto& rows : batch.updates) {
    if (rows.empty()) continue;
    TL_TRY(const UpdateStats stats, run.update(rows, count_step(rows, batch.traces, options.updates)));
    sums.add(stats);
  }
  sums.write(out);
  out.set("traces_left_out", static_cast<double>(batch.traces_left_out));
  out.set("weight_version", static_cast<double>(run.weight_version));
  out.set("tokens_per_s", out.get("sampled_tokens") / rollout_s);
  out.set("rollout_s", rollout_s);
  out.set("wait_s", wait_s);
  out.set("update_s", update_watch.seconds());
  return out;
}

}  // namespace throughline

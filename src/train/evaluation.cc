#include "train/evaluation.h"

#include "train/sft.h"

namespace throughline {

Status evaluate(TrainRun& run, const std::string& suffix, StepMetrics& out) {
  const EvaluationSection& section = run.recipe.evaluation;
  std::vector<TrainItem> items;
  for (int64_t i = 0; i < section.items; ++i) items.push_back(run.held_out.at(section.seed, i));
  const Stopwatch watch;
  TL_TRY(const auto rollouts,
         run.rollouts->run(run.held_out, items, section.samples, section.seed, section.temperature));
  double right = 0, truncated = 0, tokens = 0;
  for (const Rollout& rollout : rollouts) {
    right += rollout.verdict == TaskVerdict::kRight;
    truncated += rollout.truncated;
    tokens += static_cast<double>(rollout.result.trace.tokens());
  }
  const auto count = static_cast<double>(rollouts.size());
  out.set("eval_accuracy" + suffix, right / count);
  out.set("eval_truncated" + suffix, truncated / count);
  out.set("eval_tokens_mean" + suffix, tokens / count);
  if (run.recipe.kind == TrainKind::kSft) {
    TL_TRY(const double loss, held_out_loss(run, items));
    out.set("eval_loss" + suffix, loss);
  }
  out.set("eval_s" + suffix, watch.seconds());
  return {};
}

}  // namespace throughline

#include "train/sft.h"

#include <cmath>
#include <limits>

namespace throughline {
namespace {

struct SftBatch {
  std::vector<TrainRow> rows;
  int64_t items = 0, left_out = 0;
};

Result<SftBatch> batch_of(const TrainRun& run, std::span<const TrainItem> items) {
  SftBatch out;
  for (const TrainItem& item : items) {
    TL_TRY(auto rows, rows_of_item(run.model, run.rollouts->environment(), item,
                                   run.model.decoder->config().max_positions, out.items));
    if (rows.empty()) {
      ++out.left_out;
      continue;
    }
    ++out.items;
    for (TrainRow& row : rows) out.rows.push_back(std::move(row));
  }
  return out;
}

}  // namespace

Result<std::vector<TrainRow>> rows_of_item(const TrainModel& model, const Environment& environment,
                                           const TrainItem& item, int64_t max_context, int64_t trace) {
  TL_TRY(PromptIds prompt, model.prompt(item.prompt));
  const std::vector<int32_t> response = model.response(item.reasoning, item.answer, prompt.opens_thinking);
  std::vector<TrainRow> rows;
  Trace said;
  said.query_ids = prompt.ids;
  const auto total = static_cast<int64_t>(response.size());
  for (int64_t from = 0; from < total;) {
    const auto chunk = static_cast<int64_t>(said.chunks.size());
    if (chunk >= environment.max_chunks()) return std::vector<TrainRow>();
    std::vector<int32_t> start = chunk == 0 ? prompt.ids : environment.next_prompt(said);
    const int64_t to = std::min(total, from + environment.chunk_limit(chunk));
    ChunkTrace& added = said.chunks.emplace_back();
    added.token_ids.assign(response.begin() + from, response.begin() + to);
    TrainRow row;
    row.prompt_tokens = static_cast<int64_t>(start.size());
    row.ids = start;
    row.ids.insert(row.ids.end(), added.token_ids.begin(), added.token_ids.end());
    // The last id is never fed, so a context of n positions takes one id more.
    if (row.tokens() > max_context + 1) return std::vector<TrainRow>();
    row.trained.assign(static_cast<size_t>(to - from), 1);
    row.trace = trace;
    row.trace_tokens = total;
    rows.push_back(std::move(row));
    added.prompt_ids = std::move(start);
    from = to;
  }
  return rows;
}

Result<StepMetrics> sft_step(TrainRun& run) {
  const Stopwatch watch;
  const auto items = run.take_items(run.recipe.sft.items);
  TL_TRY(const SftBatch batch, batch_of(run, items));
  if (batch.rows.empty()) {
    return Error{"no item of the step fits: every response is longer than the environment or the context allows",
                 "rollout.think", "use a longer chunk or more chunks, or shorter tasks"};
  }
  TL_TRY(const UpdateStats stats, run.update(batch.rows, count_step(batch.rows, batch.items, 1)));
  StepMetrics out;
  out.set("loss", stats.loss);
  out.set("entropy", stats.entropy);
  out.set("grad_norm", stats.grad_norm);
  out.set("learning_rate", stats.learning_rate);
  out.set("skipped", stats.skipped ? 1 : 0);
  out.set("trained_tokens", static_cast<double>(stats.trained_tokens));
  out.set("fed_tokens", static_cast<double>(stats.fed_tokens));
  out.set("rows", static_cast<double>(stats.rows));
  out.set("left_out", static_cast<double>(batch.left_out));
  const double seconds = watch.seconds();
  out.set("tokens_per_s", static_cast<double>(stats.fed_tokens) / seconds);
  out.set("update_s", seconds);
  return out;
}

Result<double> held_out_loss(const TrainRun& run, std::span<const TrainItem> items) {
  TL_TRY(const SftBatch batch, batch_of(run, items));
  const auto add = [&](const MicroBatch& rows, double* sums) {  // of -log-probs, of tokens
    for (const auto& row : run.updater->logprobs(rows)) {
      for (const float value : row) {
        if (std::isnan(value)) continue;
        sums[0] -= value;
        ++sums[1];
      }
    }
  };
  TL_TRY(const auto sums, run.parallel->sum(batch.rows, 2, add));
  return sums[1] > 0 ? sums[0] / sums[1] : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace throughline

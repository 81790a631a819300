#include "train/train_run.h"

#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>

#include "train/checkpoint.h"
#include "train/evaluation.h"
#include "train/grpo.h"
#include "train/packing.h"
#include "train/row_attention.h"
#include "train/schedule.h"
#include "train/sft.h"

namespace throughline {
namespace {

int64_t optimizer_steps_a_step(const Recipe& recipe) {
  return recipe.kind == TrainKind::kGrpo ? recipe.grpo.updates : 1;
}

ScheduleOptions schedule_of(const Recipe& recipe) {
  ScheduleOptions out;
  out.kind = recipe.schedule.kind == "constant" ? ScheduleKind::kConstant
             : recipe.schedule.kind == "linear" ? ScheduleKind::kLinear
                                                : ScheduleKind::kCosine;
  out.learning_rate = recipe.optimizer.lr;
  out.warmup_steps = recipe.schedule.warmup * optimizer_steps_a_step(recipe);
  out.total_steps = recipe.run.steps * optimizer_steps_a_step(recipe);
  out.final_fraction = recipe.schedule.final_share;
  return out;
}

AggregationKind aggregation_kind(const std::string& name) {
  return name == "trace"      ? AggregationKind::kTraceLength
         : name == "token"    ? AggregationKind::kTokenMean
         : name == "constant" ? AggregationKind::kConstant
                              : AggregationKind::kSequenceMean;
}

UpdateOptions update_options(const Recipe& recipe, int64_t most_trace_tokens) {
  UpdateOptions out;
  const OptimizerSection& o = recipe.optimizer;
  out.optimizer = {o.beta1, o.beta2, o.epsilon, o.weight_decay, o.clip_norm};
  out.mode = recipe.run.exact ? ops::NumericMode::kExact : ops::NumericMode::kFast;
  out.checkpoint_layers = recipe.model.checkpoint_layers;
  if (recipe.kind == TrainKind::kSft) {
    out.loss.kind = TokenLossKind::kCrossEntropy;
    out.aggregation.kind = AggregationKind::kTokenMean;
    return out;
  }
  const GrpoSection& g = recipe.grpo;
  out.temperature = recipe.rollout.temperature;
  out.old_is_present = g.updates == 1 && g.old_logprobs == "trainer";
  out.loss.clip_low = g.clip_low, out.loss.clip_high = g.clip_high, out.loss.dual_clip = g.dual_clip;
  out.loss.correction = g.correction == "none"       ? MismatchCorrection::kNone
                        : g.correction == "truncate" ? MismatchCorrection::kTruncate
                                                     : MismatchCorrection::kMask;
  out.loss.correction_cap = g.correction_cap;
  out.loss.kl_coefficient = g.kl;
  out.aggregation.kind = aggregation_kind(g.aggregation);
  out.aggregation.constant_tokens = static_cast<double>(g.constant_tokens > 0 ? g.constant_tokens : most_trace_tokens);
  return out;
}

double peak_rss_mib() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;  // Linux: KiB
}

class Session {
 public:
  static Result<std::unique_ptr<Session>> open(const TrainOptions& options);
  Result<TrainSummary> go();

 private:
  Session() = default;
  Status load_model(const std::optional<FoundCheckpoint>& found);
  Status make_updater();
  Status resume_from(const FoundCheckpoint& found);
  Result<StepMetrics> one_step();
  Status save();
  bool due(int64_t every) const { return every > 0 && run_.step % every == 0; }

  TrainOptions options_;
  TrainRun run_;
  std::string first_model_;  // the weights that training began with
  std::string checkpoint_;
  int64_t checkpoint_step_ = -1;
  double elapsed_s_ = 0;
};

Result<std::unique_ptr<Session>> Session::open(const TrainOptions& options) {
  std::unique_ptr<Session> out(new Session());
  out->options_ = options;
  TrainRun& run = out->run_;
  run.recipe = options.recipe;
  run.say = options.say ? options.say : [](const std::string&) {};
  run.steps = options.max_steps > 0 ? options.max_steps : run.recipe.run.steps;
  const int64_t threads = run.recipe.run.threads;
  at::set_num_threads(threads > 0 ? static_cast<int>(threads)
                                  : static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  TL_TRY(run.items, TrainItems::create(run.recipe.tasks, TaskSplit::kTrain, run.recipe.kind));
  if (run.recipe.evaluation.every > 0) {
    TL_TRY(run.held_out, TrainItems::create(run.recipe.tasks, TaskSplit::kEvaluation, run.recipe.kind));
    if (run.held_out.empty()) {
      return Error{"evaluation has no task", "evaluation.every",
                   "add a [[task]] with split = \"evaluation\" (files are not split by themselves)"};
    }
  }
  TL_TRY(run.directory, RunDirectory::open(options.run_dir, run.recipe, options.resume));
  std::optional<FoundCheckpoint> found;
  if (options.resume) {
    TL_TRY(found, load_newest_checkpoint(run.directory.checkpoints(), run.say));
    if (!found) run.say("no checkpoint yet: the run begins anew");
  }
  TL_TRY_STATUS(out->load_model(found));
  TL_TRY_STATUS(out->make_updater());
  if (found) TL_TRY_STATUS(out->resume_from(*found));
  run.rollouts->weights_changed(run.weight_version);
  TL_TRY_STATUS(run.directory.begin_after(run.step));
  return out;
}

Status Session::load_model(const std::optional<FoundCheckpoint>& found) {
  const ModelSection& section = run_.recipe.model;
  first_model_ = section.path;
  if (first_model_.empty()) {
    first_model_ = join_path(run_.directory.path(), "init");
    TL_TRY_STATUS(make_model_from_scratch(first_model_, section.config, run_.recipe.run.seed));
  }
  TL_TRY(run_.model, TrainModel::load(found ? found->path : first_model_, section.dtype));
  run_.model.decoder->make_trainable();
  if (run_.recipe.kind == TrainKind::kGrpo && run_.recipe.grpo.kl > 0) {
    TL_TRY(run_.reference, Decoder::load(first_model_, {.dtype = section.dtype}));
  }
  return {};
}

Status Session::make_updater() {
  const Recipe& recipe = run_.recipe;
  if (recipe.lora.rank > 0) return Error{"adapters are not wired into the loop yet", "lora.rank", "use 0"};
  TL_TRY(run_.rollouts, RolloutEngine::create(&run_.model, {.section = recipe.rollout, .exact = recipe.run.exact}));
  run_.trainable = std::make_unique<FullTrainable>(run_.model.decoder.get());
  run_.updater = std::make_unique<Updater>(run_.model.decoder.get(), run_.trainable.get(),
                                           update_options(recipe, run_.rollouts->most_tokens(1)),
                                           row_attention_factory(run_.mode()));
  return {};
}

Status Session::resume_from(const FoundCheckpoint& found) {
  const std::string where = join_path(found.path, "state.json");
  const Json& state = found.content.state;
  for (const char* name : {"cursor", "weight_version", "elapsed_s", "kind"}) {
    if (!state.contains(name)) return Error{std::string("has no \"") + name + "\"", where, "use another checkpoint"};
  }
  if (state["kind"] != train_kind_name(run_.recipe.kind))
    return Error{"is of a run of `train " + state["kind"].dump() + "`", where, "resume with the same command"};
  TL_TRY_STATUS(run_.updater->optimizer().restore(found.content.optimizer, join_path(found.path, "optimizer")));
  run_.step = found.content.step;
  run_.cursor = state["cursor"].get<int64_t>();
  run_.weight_version = state["weight_version"].get<int64_t>();
  elapsed_s_ = state["elapsed_s"].get<double>();
  checkpoint_ = found.path;
  checkpoint_step_ = run_.step;
  run_.say("resumed after step " + std::to_string(run_.step) + " from " + found.path);
  return {};
}

Result<StepMetrics> Session::one_step() {
  const Stopwatch watch;
  StepMetrics start;
  const bool evaluates = run_.recipe.evaluation.every > 0;
  if (evaluates && run_.step == 0) TL_TRY_STATUS(evaluate(run_, "_start", start));
  TL_TRY(StepMetrics out, run_.recipe.kind == TrainKind::kSft ? sft_step(run_) : grpo_step(run_));
  out.step = ++run_.step;
  for (const auto& [name, value] : start.values) out.set(name, value);
  if (evaluates && due(run_.recipe.evaluation.every)) TL_TRY_STATUS(evaluate(run_, "", out));
  elapsed_s_ += watch.seconds();
  out.set("step_s", watch.seconds());
  out.set("elapsed_s", elapsed_s_);
  out.set("peak_rss_mib", peak_rss_mib());
  return out;
}

Status Session::save() {
  CheckpointContent content;
  content.step = run_.step;
  content.state = {{"kind", train_kind_name(run_.recipe.kind)},
                   {"cursor", run_.cursor},
                   {"weight_version", run_.weight_version},
                   {"elapsed_s", elapsed_s_}};
  content.optimizer = run_.updater->optimizer().state();
  TL_TRY(checkpoint_, save_checkpoint(run_.directory.checkpoints(), content, *run_.model.decoder, first_model_,
                                      run_.recipe.checkpoint.keep));
  checkpoint_step_ = run_.step;
  return {};
}

Result<TrainSummary> Session::go() {
  TrainSummary out;
  out.first_step = run_.step + 1;
  while (run_.step < run_.steps && !out.stopped) {
    TL_TRY(const StepMetrics metrics, one_step());
    TL_TRY_STATUS(run_.directory.write_metrics(write_step_metrics(metrics)));
    if (options_.on_step) options_.on_step(metrics);
    out.stopped = options_.stop && options_.stop();
    if (due(run_.recipe.checkpoint.every)) {
      const Status saved = save();
      if (!saved.ok()) run_.say("no checkpoint of this step, the older ones stay: " + saved.error().line());
    }
  }
  out.last_step = run_.step;
  if (checkpoint_step_ != run_.step) TL_TRY_STATUS(save());
  out.checkpoint = checkpoint_;
  return out;
}

}  // namespace

AttentionFactory row_attention_factory(ops::NumericMode mode) {
  return [mode](const Decoder& decoder, std::span<const TrainRow* const> rows) -> std::unique_ptr<AttentionContext> {
    std::vector<PackedRow> packed;
    for (const TrainRow* row : rows)
      packed.push_back({row->tokens() - 1, row->evictions.empty() ? nullptr : &row->evictions});
    return std::make_unique<RowAttention>(decoder, std::move(packed), mode);
  };
}

std::vector<TrainItem> TrainRun::take_items(int64_t count) {
  std::vector<TrainItem> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(items.at(recipe.run.seed, cursor++));
  return out;
}

double TrainRun::learning_rate() const { return learning_rate_at(schedule_of(recipe), weight_version); }

std::vector<std::vector<const TrainRow*>> TrainRun::micro_batches(const std::vector<TrainRow>& rows) const {
  std::vector<int64_t> tokens;
  for (const TrainRow& row : rows) tokens.push_back(row.tokens() - 1);
  std::vector<std::vector<const TrainRow*>> out;
  for (const auto& batch : pack_rows(tokens, recipe.optimizer.batch_tokens)) {
    auto& list = out.emplace_back();
    for (const int64_t index : batch) list.push_back(&rows[static_cast<size_t>(index)]);
  }
  return out;
}

UpdateStats TrainRun::update(const std::vector<TrainRow>& rows, const StepTotals& totals) {
  for (const auto& batch : micro_batches(rows)) updater->accumulate(batch, totals);
  UpdateStats stats = updater->apply(learning_rate());
  ++weight_version;
  rollouts->weights_changed(weight_version);
  return stats;
}

Result<TrainSummary> train(const TrainOptions& options) {
  TL_TRY(const std::unique_ptr<Session> session, Session::open(options));
  return session->go();
}

}  // namespace throughline

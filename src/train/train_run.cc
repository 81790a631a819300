#include "train/train_run.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <thread>

#include "train/checkpoint.h"
#include "train/evaluation.h"
#include "train/fit_items.h"
#include "train/grpo.h"
#include "train/lora.h"
#include "train/row_attention.h"
#include "train/schedule.h"
#include "train/sft.h"

namespace throughline {
namespace {

constexpr const char* kValues = "values";  // of adapters, among the optimizer's state

int64_t optimizer_steps_a_step(const Recipe& recipe) {
  return recipe.kind == TrainKind::kGrpo ? recipe.grpo.updates : 1;
}

ScheduleOptions schedule_of(const Recipe& recipe) {
  ScheduleOptions out;
  out.kind = recipe.schedule.kind;
  out.learning_rate = recipe.optimizer.lr;
  out.warmup_steps = recipe.schedule.warmup * optimizer_steps_a_step(recipe);
  out.total_steps = recipe.run.steps * optimizer_steps_a_step(recipe);
  out.final_fraction = recipe.schedule.final_share;
  return out;
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
  out.old_is_present = g.updates == 1 && g.old_logprobs == OldLogprobs::kTrainer;
  out.loss.clip_low = g.clip_low, out.loss.clip_high = g.clip_high, out.loss.dual_clip = g.dual_clip;
  out.loss.correction = g.correction;
  out.loss.correction_cap = g.correction_cap;
  out.loss.kl_coefficient = g.kl;
  out.aggregation.kind = g.aggregation;
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
  Status open_directory();
  Status load_model(const std::optional<FoundCheckpoint>& found);
  Status make_updater();
  Status fit_items();
  Status resume_from(const FoundCheckpoint& found);
  Status check_weights() const;
  Status restore_values(const NamedTensors& state, const std::string& where);
  Result<StepMetrics> one_step();
  Status save();
  Result<bool> any_rank(bool own);
  bool due(int64_t every) const { return every > 0 && run_.step % every == 0; }

  ProcessGroup& group() const { return run_.parallel->group(); }
  bool uses_lora() const { return run_.recipe.lora.rank > 0; }

  TrainOptions options_;
  std::unique_ptr<ProcessGroup> own_group_;  // where none was given
  TrainRun run_;
  std::string first_model_;  // the weights that training began with
  int64_t checkpoint_step_ = -1;
  double elapsed_s_ = 0;
};

// Processes that do not share a file system would go on from different steps.
Status check_all_found(ProcessGroup& group, int64_t step, const std::string& run_dir) {
  TL_TRY(const auto steps, group.all_gather_bytes(std::to_string(step)));
  for (size_t rank = 1; rank < steps.size(); ++rank) {
    if (steps[rank] == steps[0]) continue;
    return Error{"rank 0 and rank " + std::to_string(rank) + " find different checkpoints", run_dir,
                 "--run-dir must be on a file system that all processes share"};
  }
  return {};
}

Result<std::unique_ptr<Session>> Session::open(const TrainOptions& options) {
  std::unique_ptr<Session> out(new Session());
  out->options_ = options;
  TrainRun& run = out->run_;
  run.recipe = options.recipe;
  if (options.group == nullptr) out->own_group_ = single_process_group();
  ProcessGroup* group = options.group != nullptr ? options.group : out->own_group_.get();
  run.parallel = std::make_unique<DataParallel>(group, run.recipe.run.exact, run.recipe.optimizer.batch_tokens);
  const bool first = run.is_first();
  run.say = options.say && first ? options.say : [](const std::string&) {};
  run.steps = options.max_steps > 0 ? options.max_steps : run.recipe.run.steps;
  if (run.recipe.run.threads == 0) run.recipe.run.threads = std::max(1U, std::thread::hardware_concurrency());
  at::set_num_threads(static_cast<int>(run.recipe.run.threads));
  TL_TRY(run.items, TrainItems::create(run.recipe.tasks, TaskSplit::kTrain, run.recipe.kind));
  if (run.recipe.evaluation.every > 0) {
    TL_TRY(run.held_out, TrainItems::create(run.recipe.tasks, TaskSplit::kEvaluation, run.recipe.kind));
    if (run.held_out.empty()) {
      return Error{"evaluation has no task", "evaluation.every",
                   "add a [[task]] with split = \"evaluation\" (files are not split by themselves)"};
    }
  }
  TL_TRY_STATUS(agree(group, out->open_directory()));
  std::optional<FoundCheckpoint> found;
  if (options.resume) {
    TL_TRY(found, load_newest_checkpoint(join_path(options.run_dir, "checkpoints"), run.say));
    if (!found) run.say("no checkpoint yet: the run begins anew");
    TL_TRY_STATUS(check_all_found(*group, found ? found->step : -1, options.run_dir));
  }
  TL_TRY_STATUS(out->load_model(found));
  TL_TRY_STATUS(out->make_updater());
  TL_TRY_STATUS(out->fit_items());
  if (found) TL_TRY_STATUS(agree(group, out->resume_from(*found)));
  TL_TRY_STATUS(agree(group, out->check_weights()));
  run.rollouts->use_weights(run.weights());
  TL_TRY_STATUS(agree(group, first ? run.directory.begin_after(run.step) : Status()));
  return out;
}

// Rank 0 alone has the folder open; what others read there is there when this has returned in all of them.
Status Session::open_directory() {
  if (!run_.is_first()) return {};
  TL_TRY(run_.directory, RunDirectory::open(options_.run_dir, run_.recipe, options_.resume));
  if (!run_.recipe.model.path.empty()) return {};
  return make_model_from_scratch(run_.directory.first_weights(), run_.recipe.model.config, run_.recipe.run.seed);
}

Status Session::load_model(const std::optional<FoundCheckpoint>& found) {
  const ModelSection& section = run_.recipe.model;
  first_model_ = section.path.empty() ? join_path(options_.run_dir, "init") : section.path;
  // Adapters are put onto the first weights anew; what a checkpoint holds is already merged.
  TL_TRY(run_.model, TrainModel::load(found && !uses_lora() ? found->path : first_model_, section.dtype));
  if (run_.recipe.kind == TrainKind::kGrpo && run_.recipe.grpo.kl > 0) {
    TL_TRY(run_.reference, Decoder::load(first_model_, {.dtype = section.dtype}));
  }
  return {};
}

Status Session::make_updater() {
  const Recipe& recipe = run_.recipe;
  Decoder* decoder = run_.model.decoder.get();
  TL_TRY(run_.rollouts, RolloutEngine::create(&run_.model, {.section = recipe.rollout, .exact = recipe.run.exact},
                                              &run_.parallel->group()));
  if (uses_lora()) {
    LoraOptions lora{.rank = recipe.lora.rank, .alpha = recipe.lora.alpha, .targets = {}, .seed = recipe.run.seed};
    std::istringstream targets(recipe.lora.targets);
    for (std::string name; std::getline(targets, name, ',');) lora.targets.push_back(name);
    TL_TRY(run_.trainable, LoraTrainable::create(decoder, lora, "lora"));
  } else {
    run_.trainable = std::make_unique<FullTrainable>(decoder);
  }
  const ShardRange own = run_.parallel->own_range(*run_.trainable);
  run_.updater =
      std::make_unique<Updater>(decoder, run_.trainable.get(), update_options(recipe, run_.rollouts->most_tokens(1)),
                                row_attention_factory(run_.mode()), own.begin, own.end);
  return {};
}

// SFT cuts its rows itself and counts what it leaves out (sft.h); what it samples is held out.
Status Session::fit_items() {
  const bool teaches = run_.recipe.kind == TrainKind::kSft;
  const RolloutEngine* sampler = run_.rollouts.get();
  TL_TRY_STATUS(fit_file_items(run_.items, run_.model, {teaches ? nullptr : sampler, teaches}, run_.say));
  return fit_file_items(run_.held_out, run_.model, {sampler, teaches}, run_.say);
}

// Adapters: their own values are among the optimizer's state, since the checkpoint's weights are merged.
Status Session::restore_values(const NamedTensors& state, const std::string& where) {
  const at::NoGradGuard guard;
  const ShardRange own = run_.parallel->own_range(*run_.trainable);
  const auto found = std::find_if(state.begin(), state.end(), [](const auto& entry) { return entry.first == kValues; });
  if (found == state.end() || found->second.numel() != own.size()) {
    return Error{std::string("has no \"") + kValues + "\" of the right size", where, "resume with the same recipe"};
  }
  run_.trainable->values().narrow(0, own.begin, own.size()).copy_(found->second);
  TL_TRY_STATUS(all_gather_ranges(group(), run_.trainable->values(), Trainable::kShardAlign));
  run_.trainable->published();
  return {};
}

Status Session::resume_from(const FoundCheckpoint& found) {
  const std::string where = join_path(found.path, "state.json");
  const Json& state = found.state;
  for (const char* name : {"cursor", "weight_version", "elapsed_s", "kind"}) {
    if (!state.contains(name)) return Error{std::string("has no \"") + name + "\"", where, "use another checkpoint"};
  }
  if (state["kind"] != train_kind_name(run_.recipe.kind))
    return Error{"is of a run of `train " + state["kind"].dump() + "`", where, "resume with the same command"};
  TL_TRY(const NamedTensors optimizer, load_optimizer_state(found.path, run_.parallel->own_range(*run_.trainable)));
  TL_TRY_STATUS(run_.updater->optimizer().restore(optimizer, found.path));
  if (uses_lora()) TL_TRY_STATUS(restore_values(optimizer, found.path));
  run_.step = found.step;
  run_.cursor = state["cursor"].get<int64_t>();
  run_.weight_version = state["weight_version"].get<int64_t>();
  elapsed_s_ = state["elapsed_s"].get<double>();
  run_.checkpoint = found.path;
  checkpoint_step_ = run_.step;
  run_.say("resumed after step " + std::to_string(run_.step) + " from " + found.path);
  return {};
}

Status Session::check_weights() const {
  if (run_.updater->optimizer().values_finite()) return {};
  return Error{"the weights are not finite", run_.model.folder, "begin with an earlier checkpoint"};
}

Result<StepMetrics> Session::one_step() {
  const Stopwatch watch;
  StepMetrics start;
  const bool evaluates = run_.recipe.evaluation.every > 0;
  if (evaluates && run_.step == 0) TL_TRY_STATUS(evaluate(run_, "_start", start));
  TL_TRY(StepMetrics out, run_.recipe.kind == TrainKind::kSft ? sft_step(run_) : grpo_step(run_));
  out.step = ++run_.step;
  run_.rollouts->use_weights(run_.weights());
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
  const ShardRange own = content.optimizer_range = run_.parallel->own_range(*run_.trainable);
  if (uses_lora()) content.optimizer.emplace_back(kValues, run_.trainable->values().narrow(0, own.begin, own.size()));
  TL_TRY(run_.checkpoint, save_checkpoint(join_path(options_.run_dir, "checkpoints"), content, *run_.model.decoder,
                                          first_model_, run_.recipe.checkpoint.keep, &group()));
  if (uses_lora() && run_.is_first()) {
    const auto* lora = static_cast<const LoraTrainable*>(run_.trainable.get());
    TL_TRY_STATUS(lora->save_adapter(join_path(options_.run_dir, "adapter"), first_model_));
  }
  checkpoint_step_ = run_.step;
  return {};
}

// Whether any process says so: all stop after the same step.
Result<bool> Session::any_rank(bool own) {
  at::Tensor said = at::full({1}, own ? 1 : 0, at::kLong);
  TL_TRY_STATUS(group().all_reduce(said, Reduce::kMax));
  return said.item<int64_t>() != 0;
}

Result<TrainSummary> Session::go() {
  TrainSummary out;
  out.first_step = run_.step + 1;
  while (run_.step < run_.steps && !out.stopped) {
    TL_TRY(const StepMetrics metrics, one_step());
    const bool first = run_.is_first();
    TL_TRY_STATUS(agree(&group(), first ? run_.directory.write_metrics(write_step_metrics(metrics)) : Status()));
    if (options_.on_step && first) options_.on_step(metrics);
    TL_TRY(out.stopped, any_rank(options_.stop && options_.stop()));
    if (due(run_.recipe.checkpoint.every)) {
      const Status saved = save();
      if (!saved.ok()) {
        TL_TRY_STATUS(group().check());  // a lost rank ends the run; a full disk does not
        run_.say("no checkpoint of this step, the older ones stay: " + saved.error().line());
      }
    }
  }
  out.last_step = run_.step;
  if (checkpoint_step_ != run_.step) TL_TRY_STATUS(save());
  out.checkpoint = run_.checkpoint;
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

std::vector<TrainItem> TrainRun::next_items(int64_t count) const {
  std::vector<TrainItem> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(items.at(recipe.run.seed, cursor + i));
  return out;
}

std::vector<TrainItem> TrainRun::take_items(int64_t count) {
  auto out = next_items(count);
  cursor += count;
  return out;
}

double TrainRun::learning_rate() const { return learning_rate_at(schedule_of(recipe), weight_version); }

std::vector<MicroBatch> TrainRun::own_batches(const std::vector<TrainRow>& rows) const {
  std::vector<MicroBatch> out;
  for (auto& share : parallel->own_batches(rows)) {
    for (MicroBatch& batch : share) out.push_back(std::move(batch));
  }
  return out;
}

Result<UpdateStats> TrainRun::update(const std::vector<TrainRow>& rows, const StepTotals& totals) {
  TL_TRY(const UpdateStats stats, parallel->update(*updater, rows, totals, learning_rate()));
  ++weight_version;
  if (!stats.weights_finite) return diverged("the weights are not finite");
  if (!std::isfinite(stats.loss)) return diverged("the loss is not finite");
  return stats;
}

Error TrainRun::diverged(const std::string& what) const {
  std::string remedy = "lower optimizer.lr or raise optimizer.epsilon in a new --run-dir";
  if (!checkpoint.empty()) remedy += ", which may begin with model.path = \"" + checkpoint + "\" or an earlier one";
  return {what, "step " + std::to_string(step + 1), remedy};
}

Result<TrainSummary> train(const TrainOptions& options) {
  TL_TRY(const std::unique_ptr<Session> session, Session::open(options));
  return session->go();
}

}  // namespace throughline

#include "cli/train_command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "cli/interrupt.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "train/run_table.h"
#include "train/tensorboard.h"
#include "train/train_run.h"

namespace throughline {
namespace {

struct Options {
  std::string recipe, run_dir;
  int64_t max_steps = 0, checkpoint_every = -1, seed = -1;
  bool resume = false, exact = false;
  std::vector<std::string> overrides;

  std::vector<std::string> all_overrides() const {
    std::vector<std::string> out = overrides;
    if (checkpoint_every >= 0) out.push_back(fmt::format("checkpoint.every={}", checkpoint_every));
    if (seed >= 0) out.push_back(fmt::format("run.seed={}", seed));
    if (exact) out.push_back("run.exact=true");
    return out;
  }
};

// The table on standard output and TensorBoard's events.
class Show {
 public:
  Show(const TrainOptions& options) : options_(options) {
    const Recipe& recipe = options.recipe;
    RunTableOptions table;
    const bool terminal = ::isatty(STDOUT_FILENO) == 1;
    table.columns = terminal ? terminal_size(STDOUT_FILENO).columns : 0;
    table.color = terminal;
    table.total_steps = options.max_steps > 0 ? options.max_steps : recipe.run.steps;
    table.warnings.gap_mean = recipe.grpo.gap_warning;
    table.warnings.exact = recipe.run.exact;
    table_ = std::make_unique<RunTable>(table);
  }

  void step(const StepMetrics& metrics) {
    if (::isatty(STDOUT_FILENO) == 1) table_->resize(terminal_size(STDOUT_FILENO).columns);
    std::fputs(table_->row(metrics).c_str(), stdout);
    std::fflush(stdout);
    if (!tensorboard_ && failure_.ok()) {
      auto opened = TensorboardWriter::open(join_path(options_.run_dir, "tensorboard"), metrics.step);
      if (opened.ok()) {
        tensorboard_ = std::make_unique<TensorboardWriter>(std::move(opened).value());
      } else {
        fail(opened.error());
      }
    }
    if (!tensorboard_) return;
    std::vector<std::pair<std::string, double>> scalars;
    for (const auto& [name, value] : metrics.values) scalars.emplace_back(tensorboard_tag(name), value);
    const Status written = tensorboard_->add_scalars(metrics.step, scalars);
    if (!written.ok()) fail(written.error());
  }

 private:
  void fail(const Error& error) {  // events are a copy of metrics.jsonl: the run goes on without them
    failure_ = error;
    tensorboard_.reset();
    fmt::print(stderr, "throughline: no more TensorBoard events: {}\n", error.line());
  }

  const TrainOptions& options_;
  std::unique_ptr<RunTable> table_;
  std::unique_ptr<TensorboardWriter> tensorboard_;
  Status failure_;
};

Result<int> run(TrainKind kind, const Options& options) {
  TrainOptions train_options;
  TL_TRY(train_options.recipe, load_recipe(kind, options.recipe, options.all_overrides()));
  train_options.run_dir = !options.run_dir.empty()
                              ? options.run_dir
                              : join_path("runs", std::filesystem::path(options.recipe).stem().string());
  train_options.resume = options.resume;
  train_options.max_steps = options.max_steps;
  train_options.stop = interrupted;
  train_options.say = [](const std::string& text) { fmt::print(stderr, "throughline: {}\n", text); };
  Show show(train_options);
  train_options.on_step = [&](const StepMetrics& metrics) { show.step(metrics); };
  TL_TRY(const TrainSummary summary, train(train_options));
  if (summary.last_step < summary.first_step) {
    fmt::print(stderr, "throughline: the run is at step {}: nothing left to do; raise --max-steps\n",
               summary.last_step);
  }
  fmt::print(stderr, "{} after step {}; model and state: {}\n", summary.stopped ? "stopped" : "done", summary.last_step,
             summary.checkpoint);
  return summary.stopped ? kInterruptedExit : 0;
}

void add_kind(CLI::App& train, TrainKind kind, const char* help, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = train.add_subcommand(std::string(train_kind_name(kind)), help);
  command->add_option("RECIPE", options->recipe, "TOML file (docs/training.md)")->required();
  command->add_option("--run-dir", options->run_dir, "folder of the run (default: runs/NAME of the recipe)");
  command->add_option("--max-steps", options->max_steps, "total steps of the run (default: run.steps)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->add_option("--checkpoint-every", options->checkpoint_every, "steps (default: checkpoint.every)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command->add_flag("--resume", options->resume, "go on from the newest whole checkpoint");
  command->add_flag("--exact", options->exact, "sampler and trainer agree bit for bit (slower)");
  command->add_option("--seed", options->seed, "of prompts and draws (default: run.seed)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 39));
  command->add_option("--set", options->overrides, "section.key=value; may be given several times")
      ->allow_extra_args(false);
  command->footer("Recipe options: `throughline help recipe`, docs/training.md.");
  command->callback([kind, options, exit_status] { *exit_status = report(run(kind, *options)); });
}

}  // namespace

CLI::App* add_train_command(CLI::App& app, int* exit_status) {
  CLI::App* train = app.add_subcommand("train", "train what is sampled: supervised (sft) or by reward (grpo)");
  train->require_subcommand(1);
  add_kind(*train, TrainKind::kSft, "supervised fine-tuning on right responses", exit_status);
  add_kind(*train, TrainKind::kGrpo, "policy gradient with group advantages", exit_status);
  return train;
}

}  // namespace throughline

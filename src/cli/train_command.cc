#include "cli/train_command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

#include "base/files.h"
#include "cli/interrupt.h"
#include "cli/number_range.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "dist/process_group.h"
#include "train/run_report.h"
#include "train/train_run.h"

namespace throughline {
namespace {

struct Options {
  std::string recipe, run_dir;
  int64_t max_steps = 0, checkpoint_every = -1, seed = -1;
  double lost_after_s = 60;
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

RunReport make_report(TrainKind kind, const std::string& recipe_file, const TrainOptions& options) {
  const bool terminal = ::isatty(STDOUT_FILENO) != 0;
  RunReportOptions out;
  out.run_dir = options.run_dir;
  out.heading = fmt::format("{} {}", kind == TrainKind::kSft ? "SFT" : "GRPO", recipe_file);
  out.table.columns = terminal ? terminal_size(STDOUT_FILENO).columns : 0;
  out.table.header_every = terminal ? 20 : 0;
  out.table.color = wants_color(STDOUT_FILENO);
  out.table.total_steps = options.max_steps > 0 ? options.max_steps : options.recipe.run.steps;
  out.table.warnings.gap_mean = options.recipe.grpo.gap_warning;
  out.table.warnings.exact = options.recipe.run.exact;
  out.plot.columns = terminal ? out.table.columns : 80;
  out.plot.color = out.table.color;
  out.plot.dots = terminal && !speaks_utf8() ? PlotDots::kAscii : PlotDots::kBraille;
  if (terminal) out.columns = [] { return terminal_size(STDOUT_FILENO).columns; };
  out.print = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  return RunReport(std::move(out));
}

// Waits for the other processes, for minutes if need be.
Result<std::unique_ptr<ProcessGroup>> meet_others(const Launch& launch, const ProcessGroupOptions& options) {
  const EndAtFirstInterrupt waiting;
  if (interrupted()) std::_Exit(kInterruptedExit);
  return connect_processes(launch, options);
}

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
  TL_TRY(const Launch launch, launch_from_environment());
  int64_t& threads = train_options.recipe.run.threads;
  if (launch.world > 1 && threads == 0) {  // the processes of a machine share its cores
    threads = std::max<int64_t>(1, std::thread::hardware_concurrency() / static_cast<unsigned>(launch.local_world));
  }
  ProcessGroupOptions group_options;
  group_options.lost_after_s = options.lost_after_s;
  group_options.on_lost = [](const Error& error) {  // the others cannot go on either: checkpoints are what is left
    fmt::print(stderr, "throughline: {}\n", error.line());
    std::_Exit(1);
  };
  TL_TRY(const auto group, meet_others(launch, group_options));
  train_options.group = group.get();
  RunReport report = make_report(kind, options.recipe, train_options);
  report.note("recipe", "```\n" + train_options.recipe.text() + "```\n");
  train_options.on_step = [&](const StepMetrics& metrics) { report.step(metrics); };
  const auto trained = train(train_options);
  if (!trained.ok()) {
    group->fail(trained.error().line());
    return trained.error();
  }
  group->leave();
  const TrainSummary& summary = *trained;
  if (launch.rank != 0) return summary.stopped ? kInterruptedExit : 0;
  report.finish();
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
  command
      ->add_option("--lost-after", options->lost_after_s,
                   "seconds until a silent process is lost (docs/distributed.md)")
      ->check(number_range(1.0, 86400.0))
      ->capture_default_str();
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

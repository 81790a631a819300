#include "train/run_report.h"

#include "base/files.h"
#include "train/run_plots.h"

namespace throughline {

RunReport::RunReport(RunReportOptions options)
    : options_(std::move(options)), table_(options_.table), tensorboard_wanted_(options_.tensorboard) {}

void RunReport::print(std::string_view text) const {
  if (options_.print) options_.print(text);
}

void RunReport::step(const StepMetrics& metrics) {
  if (options_.columns) table_.resize(options_.columns());
  print(table_.row(metrics));
  if (!tensorboard_wanted_) return;
  if (const Status written = write_events(metrics); !written.ok()) {
    tensorboard_wanted_ = false;
    tensorboard_.reset();
    print("WARNING no TensorBoard events from here on: " + written.error().line() + "\n");
  }
}

void RunReport::note(std::string_view tag, std::string_view markdown) { notes_.emplace_back(tag, markdown); }

Status RunReport::write_events(const StepMetrics& metrics) {
  if (!tensorboard_) {
    TL_TRY(auto writer, TensorboardWriter::open(join_path(options_.run_dir, "tensorboard"), metrics.step));
    tensorboard_.emplace(std::move(writer));
  }
  for (const auto& [tag, text] : notes_) TL_TRY_STATUS(tensorboard_->add_text(metrics.step, tag, text));
  notes_.clear();
  std::vector<std::pair<std::string, double>> scalars;
  for (const auto& [name, value] : metrics.values) scalars.emplace_back(tensorboard_tag(name), value);
  return tensorboard_->add_scalars(metrics.step, scalars);
}

void RunReport::finish() {
  auto metrics = read_run_metrics(join_path(options_.run_dir, "metrics.jsonl"));
  if (!metrics.ok()) return print("WARNING no plots: " + metrics.error().line() + "\n");
  if (!metrics->skipped.empty()) print("WARNING " + metrics->skipped + "\n");
  const PlottedRun run{options_.run_dir, std::move(metrics->steps)};
  const auto plots = make_run_plots({&run, 1}, {});
  if (plots.empty()) return;
  if (options_.columns) options_.plot.columns = options_.columns();
  print("\n" + run_plots_text(plots, options_.plot));
  const auto overview = write_run_plots(join_path(options_.run_dir, "plots"), plots, options_.heading);
  if (!overview.ok()) return print("WARNING no plots: " + overview.error().line() + "\n");
  print("plots: " + *overview + "\n");
  if (tensorboard_) print("TensorBoard: tensorboard --logdir " + options_.run_dir + "\n");
}

}  // namespace throughline

// What a training run shows while it goes on and at its end: the table's rows, TensorBoard's event file, the plots. The
// loop calls step() after it has written metrics.jsonl.
//
// Showing must never end a run: where an event file or a plot cannot be written, one warning is printed and the run
// goes on without. Not thread-safe; of several processes, one reports.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/plot_terminal.h"
#include "base/result.h"
#include "train/run_table.h"
#include "train/tensorboard.h"

namespace throughline {

struct RunReportOptions {
  std::string run_dir;
  std::string heading;  // of the plots: "GRPO recipes/quick.toml"
  bool tensorboard = true;
  RunTableOptions table;
  TerminalPlotOptions plot;                     // of the plots printed at the end
  std::function<int()> columns;                 // asked before each row, for windows that are resized; empty: never
  std::function<void(std::string_view)> print;  // whole lines; empty: nothing is printed
};

class RunReport {
 public:
  explicit RunReport(RunReportOptions options);

  void step(const StepMetrics& metrics);
  // A text for TensorBoard's text page, such as the recipe, in Markdown; written with the next step.
  void note(std::string_view tag, std::string_view markdown);
  // Draws RUN/plots/*.svg from RUN/metrics.jsonl and prints the plots and where they are.
  void finish();

 private:
  void print(std::string_view text) const;
  Status write_events(const StepMetrics& metrics);

  RunReportOptions options_;
  RunTable table_;
  std::optional<TensorboardWriter> tensorboard_;  // from the first step on: its file says where it begins
  bool tensorboard_wanted_ = false;
  std::vector<std::pair<std::string, std::string>> notes_;  // not written yet
};

}  // namespace throughline

// The plots of a run, or of several runs over each other: reward, accuracy, trace length, gap, entropy and whatever
// else was measured, against steps or seconds. What draws is base/plot_svg.h and base/plot_terminal.h.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/plot.h"
#include "base/plot_terminal.h"
#include "base/result.h"
#include "train/step_metrics.h"

namespace throughline {

struct PlottedRun {
  std::string name;  // in legends, where there are several runs
  std::vector<StepMetrics> steps;
};

struct RunPlotOptions {
  bool against_seconds = false;
  std::optional<double> smoothing;   // weight of the past in [0, 1); not given: none for short runs
  std::vector<std::string> metrics;  // one plot each; empty: the usual panels
};

struct RunPlot {
  std::string file;  // "accuracy": its SVG is accuracy.svg
  Plot plot;
};

// Panels that have no number in any run are left out. One run: a panel shows the metrics that belong together. Several:
// one metric a panel, one line a run.
std::vector<RunPlot> make_run_plots(std::span<const PlottedRun> runs, const RunPlotOptions& options);

// FOLDER/NAME.svg for each, and FOLDER/overview.svg with all of them. Returns the overview's path.
Result<std::string> write_run_plots(const std::string& folder, std::span<const RunPlot> plots,
                                    const std::string& heading);

// The first plot in full width, the next ones side by side below it; at most `most` in all.
std::string run_plots_text(std::span<const RunPlot> plots, const TerminalPlotOptions& options, size_t most = 5);

// Names that tell the folders apart: the last parts of their paths.
std::vector<std::string> run_names(std::span<const std::string> folders);

}  // namespace throughline

// Line plots as text, for the end of a run in a terminal. Every line has exactly `columns` columns (a letter counts as
// one), so that plots can stand side by side. Pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/plot.h"

namespace throughline {

enum class PlotDots { kBraille, kBlocks, kAscii };  // 2x4, 2x2 and 1x1 dots a letter

struct TerminalPlotOptions {
  int columns = 80;
  int rows = 14;  // title, legend and axis included
  PlotDots dots = PlotDots::kBraille;
  bool color = false;  // ANSI colours; without them, series differ by their dashes (ASCII: letters)
};

// `rows` lines, without newlines. Sizes are raised to what a plot needs: 24 x 6.
std::vector<std::string> draw_terminal(const Plot& plot, const TerminalPlotOptions& options);
// Several plots in rows of `across`, sharing options.columns; ends with a newline.
std::string draw_terminal(std::span<const Plot> plots, const TerminalPlotOptions& options, int across);

}  // namespace throughline

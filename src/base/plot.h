// Line plots as data: what plot_svg.h and plot_terminal.h draw. Axes with round ticks, smoothing. Pure.
//
// Values that are not finite (or beyond 1e100 either way) are gaps in the line. Nothing here is an error: a plot
// without points is an empty frame.
#pragma once

#include <string>
#include <vector>

namespace throughline {

struct PlotSeries {
  std::string name;
  std::vector<double> x, y;  // equally long, x ascending
  double smoothing = 0;      // weight of the past, 0 (off) to below 1; the raw line stays, faint
};

struct Plot {
  std::string title;
  std::string x_label;
  std::vector<PlotSeries> series;
  bool from_zero = true;  // the y axis holds 0
  bool percent = false;   // y is a share, ticks are percentages
};

struct Axis {
  double low = 0, high = 1;  // low < high
  std::vector<double> ticks;
  std::vector<std::string> labels;  // one a tick, all with the same number of decimals

  double at(double value) const { return (value - low) / (high - low); }  // 0 at low, 1 at high
};

// Round ticks (1, 2, 5 times a power of ten), at most `most_ticks` of them; REQUIRES: most_ticks >= 3. `widen`: the
// ends become ticks, else they stay as they are and the ticks lie within. `integer`: no ticks between whole numbers.
struct AxisOptions {
  int most_ticks = 6;
  bool widen = true;
  bool percent = false;
  bool integer = false;
};
Axis make_axis(double low, double high, const AxisOptions& options);

struct PlotAxes {
  Axis x, y;
};
PlotAxes axes_of(const Plot& plot, int most_x_ticks, int most_y_ticks);

bool plottable(double value);
// The exponential mean of what came so far, without the pull of its start: y'_n = sum w^(n-i) y_i / sum w^(n-i). Gaps
// stay gaps. REQUIRES: 0 <= weight < 1.
std::vector<double> smoothed(const std::vector<double>& y, double weight);
// "0.412": the last value of a series, as the legends show it; empty: it has none.
std::string last_value(const std::vector<double>& y, bool percent);

}  // namespace throughline

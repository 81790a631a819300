#include "base/plot.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/number_text.h"
#include "base/result.h"

namespace throughline {
namespace {

constexpr double kLargest = 1e100;  // differences and squares of such values are still finite

// The smallest of 1, 2, 5 times a power of ten that is not below `value`.
double round_step(double value) {
  const double power = std::pow(10.0, std::floor(std::log10(value)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= value * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

// All ticks in one form, so that they line up: 0.25, 20K, 1e-07, 40%.
std::vector<std::string> tick_labels(const std::vector<double>& ticks, double step, bool percent) {
  const double scale = percent ? 100 : 1;
  double most = 0;
  for (const double tick : ticks) most = std::max(most, std::abs(tick * scale));
  double unit = 1;
  const char* suffix = percent ? "%" : "";
  if (!percent && most >= 1e4 && most < 1e13) {
    const int thousands = most >= 1e10 ? 9 : most >= 1e7 ? 6 : 3;
    unit = std::pow(10.0, thousands);
    suffix = thousands == 9 ? "G" : thousands == 6 ? "M" : "K";
  }
  const bool scientific = most > 0 && (most < 1e-3 || most >= 1e13);
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(step * scale / unit) - 1e-9)), 0, 9);
  std::vector<std::string> out;
  for (const double tick : ticks) {
    const double value = tick * scale / unit;
    out.push_back(tick == 0    ? "0"
                  : scientific ? fmt::format("{:.3g}", value)
                               : fmt::format("{:.{}f}{}", value, decimals, suffix));
  }
  return out;
}

}  // namespace

bool plottable(double value) { return std::isfinite(value) && std::abs(value) <= kLargest; }

Axis make_axis(double low, double high, const AxisOptions& options) {
  TL_CHECK(options.most_ticks >= 3, "an axis around 0 has three ticks");
  if (!plottable(low) || !plottable(high) || low > high) low = 0, high = 1;
  const double magnitude = std::max(std::abs(low), std::abs(high));
  if (high - low <= magnitude * 1e-9 || high - low < 1e-100) {  // one value: room around it
    const double room = magnitude > 1e-90 ? magnitude * 0.1 : 1;
    low -= low == 0 ? 0 : room;
    high += room;
  }
  Axis axis{low, high, {}, {}};
  double step = round_step((high - low) / (options.most_ticks - 1));
  if (options.integer) step = std::max(1.0, step);
  // Widening can add a tick at either end: then the next larger step.
  for (; options.widen; step = round_step(step * 1.5)) {
    axis.low = std::floor(low / step + 1e-9) * step;
    axis.high = std::ceil(high / step - 1e-9) * step;
    if ((axis.high - axis.low) / step < options.most_ticks - 0.5) break;
  }
  for (double n = std::ceil(axis.low / step - 1e-9); n * step <= axis.high + step * 1e-9; ++n) {
    axis.ticks.push_back(n == 0 ? 0 : n * step);
    if (axis.ticks.size() > 64) break;  // cannot happen, and must not hang if it does
  }
  axis.labels = tick_labels(axis.ticks, step, options.percent);
  return axis;
}

PlotAxes axes_of(const Plot& plot, int most_x_ticks, int most_y_ticks) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  double x_low = kNone, x_high = -kNone, y_low = kNone, y_high = -kNone;
  bool integer = true;
  for (const PlotSeries& series : plot.series) {
    for (size_t i = 0; i < series.x.size() && i < series.y.size(); ++i) {
      if (!plottable(series.x[i]) || !plottable(series.y[i])) continue;
      x_low = std::min(x_low, series.x[i]);
      x_high = std::max(x_high, series.x[i]);
      y_low = std::min(y_low, series.y[i]);
      y_high = std::max(y_high, series.y[i]);
      integer = integer && series.x[i] == std::floor(series.x[i]);
    }
  }
  if (plot.from_zero) y_low = std::min(y_low, 0.0), y_high = std::max(y_high, 0.0);
  return {make_axis(x_low, x_high, {.most_ticks = most_x_ticks, .widen = false, .integer = integer}),
          make_axis(y_low, y_high, {.most_ticks = most_y_ticks, .percent = plot.percent})};
}

std::vector<double> smoothed(const std::vector<double>& y, double weight) {
  TL_CHECK(weight >= 0 && weight < 1, "the past weighs less than all");
  std::vector<double> out(y.size(), std::numeric_limits<double>::quiet_NaN());
  double sum = 0, weights = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    if (!plottable(y[i])) continue;
    sum = weight * sum + y[i];
    weights = weight * weights + 1;
    out[i] = sum / weights;
  }
  return out;
}

std::string last_value(const std::vector<double>& y, bool percent) {
  for (size_t i = y.size(); i-- > 0;) {
    if (!plottable(y[i])) continue;
    const double size = std::abs(y[i]);
    return percent ? fit_share(y[i], 6) : fit_number(y[i], 6, size >= 1000 ? 0 : size >= 10 ? 1 : 3);
  }
  return "";
}

}  // namespace throughline

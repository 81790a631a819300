#include "base/plot.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/plot_svg.h"
#include "base/plot_terminal.h"

namespace throughline {
namespace {

using Labels = std::vector<std::string>;

TEST(PlotAxis, TicksAreRoundAndTheEndsAreTicks) {
  EXPECT_EQ(make_axis(0, 0.93, {.most_ticks = 6}).labels, (Labels{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(make_axis(0, 0.93, {.most_ticks = 6, .percent = true}).labels,
            (Labels{"0", "20%", "40%", "60%", "80%", "100%"}));
  EXPECT_EQ(make_axis(0, 25536, {.most_ticks = 6}).labels, (Labels{"0", "10K", "20K", "30K"}));
  EXPECT_EQ(make_axis(0, 25536, {.most_ticks = 8}).labels, (Labels{"0", "5K", "10K", "15K", "20K", "25K", "30K"}));
  EXPECT_EQ(make_axis(0, 3.8e-6, {.most_ticks = 6}).labels, (Labels{"0", "1e-06", "2e-06", "3e-06", "4e-06"}));
  EXPECT_EQ(make_axis(-1, 1, {.most_ticks = 6}).labels, (Labels{"-1.0", "-0.5", "0", "0.5", "1.0"}));
}

TEST(PlotAxis, WholeStepsOnly) {
  const Axis axis = make_axis(1, 3, {.most_ticks = 7, .widen = false, .integer = true});
  EXPECT_EQ(axis.labels, (Labels{"1", "2", "3"}));
  EXPECT_EQ(axis.low, 1);
  EXPECT_EQ(axis.high, 3);
}

TEST(PlotAxis, OneValueHasRoomAround) {
  const Axis zero = make_axis(0, 0, {});
  EXPECT_EQ(zero.low, 0);
  EXPECT_GT(zero.high, 0);
  const Axis five = make_axis(5, 5, {});
  EXPECT_LT(five.low, 5);
  EXPECT_GT(five.high, 5);
}

RC_GTEST_PROP(PlotAxis, AnyRangeHasFewDistinctTicksThatHoldIt, (uint64_t a, uint64_t b)) {
  double low = std::bit_cast<double>(a), high = std::bit_cast<double>(b);
  if (low > high) std::swap(low, high);
  const int most = *rc::gen::inRange(3, 9);
  const bool widen = *rc::gen::arbitrary<bool>();
  const Axis axis = make_axis(low, high, {.most_ticks = most, .widen = widen});
  RC_ASSERT(axis.low < axis.high);
  RC_ASSERT(axis.ticks.size() <= static_cast<size_t>(most) + 1);
  RC_ASSERT(axis.ticks.size() == axis.labels.size());
  if (!widen) return;
  RC_ASSERT(axis.ticks.size() >= 2u);
  if (plottable(low) && plottable(high)) {
    const double room = (axis.high - axis.low) * 1e-6;
    RC_ASSERT(axis.low <= low + room);
    RC_ASSERT(axis.high >= high - room);
  }
}

TEST(Plot, SmoothingStartsAtTheFirstValueAndKeepsGaps) {
  const double gap = std::numeric_limits<double>::quiet_NaN();
  const auto out = smoothed({1, gap, 1, 3}, 0.5);
  EXPECT_EQ(out[0], 1);
  EXPECT_TRUE(std::isnan(out[1]));
  EXPECT_EQ(out[2], 1);
  EXPECT_DOUBLE_EQ(out[3], (3 + 0.5 * 1 + 0.25 * 1) / 1.75);
  EXPECT_EQ(smoothed({2, 4}, 0), (std::vector<double>{2, 4}));
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

TEST(PlotSvg, DrawsEachSeriesOnceAndNamesIt) {
  Plot plot{.title = "Accuracy", .x_label = "step", .percent = true};
  plot.series.push_back({"train", {1, 2, 3}, {0, 0.5, 1}});
  plot.series.push_back({"held-out", {1, 3}, {0.25, 0.75}, 0.9});
  const std::string svg = draw_svg({&plot, 1}, {.width = 476, .height = 292});
  EXPECT_EQ(count(svg, "<circle"), 5u);
  EXPECT_NE(svg.find(">held-out 75%<"), std::string::npos);
  EXPECT_NE(svg.find("prefers-color-scheme:dark"), std::string::npos);
  // The plane is 400 x 200 from (56, 52): the first series climbs from its lower left to its upper right.
  EXPECT_NE(svg.find("class=\"l l0\" d=\"M56.0 252.0L256.0 152.0L456.0 52.0\""), std::string::npos) << svg;
  EXPECT_EQ(count(svg, "l r l1"), 1u);  // the raw line under the smoothed one
}

TEST(PlotSvg, NamesCannotBreakTheFile) {
  Plot plot{.title = "</text><script>&\"\x01\xff", .x_label = "é"};
  plot.series.push_back({"a<b\xc3", {1}, {std::numeric_limits<double>::infinity()}});
  plot.series.push_back({std::string(500, 'n'), {1, 2}, {1e300, 1}});
  const std::string svg = draw_svg({&plot, 1}, {.heading = "<h>"});
  EXPECT_EQ(svg.find("<script"), std::string::npos);
  EXPECT_EQ(svg.find('\x01'), std::string::npos);
  EXPECT_EQ(svg.find('\xff'), std::string::npos);
  EXPECT_NE(svg.find("&lt;h&gt;"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(PlotSvg, ALongRunStaysASmallFile) {
  Plot plot{.title = "Loss", .x_label = "step"};
  plot.series.push_back({"loss", {}, {}, 0.9});
  for (int i = 0; i < 100000; ++i) {
    plot.series[0].x.push_back(i);
    plot.series[0].y.push_back(i == 77777 ? 50 : std::sin(i));
  }
  const std::string svg = draw_svg({&plot, 1}, {});
  EXPECT_LT(svg.size(), 60000u);
  // The one outlier is still there: the axis is -20 to 60 over 168 pixels, from 52 down.
  EXPECT_NE(svg.find(" 73.0"), std::string::npos);
}

Plot slope() {
  Plot plot{.title = "Slope", .x_label = "step"};
  plot.series.push_back({"up", {0, 10}, {0, 5}});
  plot.series.push_back({"flat", {0, 5, 10}, {2.5, std::nan(""), 2.5}});
  return plot;
}

TEST(PlotTerminal, AsciiLetters) {
  const auto lines = draw_terminal(slope(), {.columns = 30, .rows = 9, .dots = PlotDots::kAscii});
  EXPECT_EQ(lines, (Labels{"Slope                         ",  //
                           "** up 5.000  oo flat 2.500    ",  //
                           "   5+                     ****",  //
                           "    |               ******    ",  //
                           "    |o        ******         o",  //
                           "    |   ******                ",  //
                           "   0+***                      ",  //
                           "    ++-----------+-----------+",  //
                           "step 0           5          10"}));
}

TEST(PlotTerminal, SeveralStandSideBySide) {
  const std::vector<Plot> plots = {slope(), slope(), slope()};
  const std::string text = draw_terminal(plots, {.columns = 80, .rows = 8}, 2);
  EXPECT_EQ(count(text, "\n"), 16u);
  EXPECT_EQ(count(text, "Slope"), 3u);
}

// Letters a line takes; styles take none.
int letters(const std::string& line) {
  int out = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\033') {
      i = line.find('m', i);
    } else if ((line[i] & 0xC0) != 0x80) {
      ++out;
    }
  }
  return out;
}

RC_GTEST_PROP(PlotTerminal, EveryLineIsAsWideAsAsked, ()) {
  Plot plot{.title = *rc::gen::arbitrary<std::string>(), .x_label = "step", .percent = *rc::gen::arbitrary<bool>()};
  for (auto& c : plot.title) c = static_cast<char>(c & 0x7F);
  const int series = *rc::gen::inRange(0, 9);
  for (int i = 0; i < series; ++i) {
    plot.series.push_back({"series-" + std::to_string(i), {}, {}, 0.5});
    const int points = *rc::gen::inRange(0, 30);
    for (int n = 0; n < points; ++n) {
      plot.series.back().x.push_back(n * 1e3);
      plot.series.back().y.push_back(std::bit_cast<double>(*rc::gen::arbitrary<uint64_t>()));
    }
  }
  TerminalPlotOptions options{.columns = *rc::gen::inRange(1, 140), .rows = *rc::gen::inRange(1, 30)};
  options.dots = *rc::gen::element(PlotDots::kBraille, PlotDots::kBlocks, PlotDots::kAscii);
  options.color = *rc::gen::arbitrary<bool>();
  const auto lines = draw_terminal(plot, options);
  RC_ASSERT(static_cast<int>(lines.size()) == std::max(options.rows, 6));
  for (const std::string& line : lines) RC_ASSERT(letters(line) == std::max(options.columns, 24));
}

}  // namespace
}  // namespace throughline

#include "base/plot_terminal.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace throughline {
namespace {

constexpr const char* kColors[] = {"\033[34m", "\033[33m", "\033[32m", "\033[35m", "\033[36m", "\033[31m"};
constexpr const char* kReset = "\033[0m";
constexpr char kLetters[] = "*o+x#@";
constexpr size_t kStyles = 6;
constexpr int kFewestColumns = 24, kFewestRows = 6;

int letters_of(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// Exactly `width` letters; control characters become blanks.
std::string fitted(std::string_view text, int width) {
  std::string out;
  int letters = 0;
  for (const char c : text) {
    if ((c & 0xC0) != 0x80 && ++letters > width) break;
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
  }
  return out.append(static_cast<size_t>(std::max(0, width - letters_of(out))), ' ');
}

// A field of dots under a field of letters, each of which holds the dots and the style of the last series drawn there.
class Canvas {
 public:
  Canvas(int columns, int rows, PlotDots dots)
      : columns_(columns), rows_(rows), dots_(dots), cells_(static_cast<size_t>(columns) * rows) {
    wide_ = dots == PlotDots::kAscii ? 1 : 2;
    high_ = dots == PlotDots::kAscii ? 1 : dots == PlotDots::kBlocks ? 2 : 4;
  }

  // Coordinates from 0 at the lower left to 1 at the upper right. Dashed: two dots on, two off.
  void line(double x0, double y0, double x1, double y1, size_t style, bool dashed) {
    const int ax = dot(x0, columns_ * wide_), ay = dot(y0, rows_ * high_);
    const int bx = dot(x1, columns_ * wide_), by = dot(y1, rows_ * high_);
    const int steps = std::max({std::abs(bx - ax), std::abs(by - ay), 1});
    for (int i = 0; i <= steps; ++i) {
      if (dashed && drawn_++ % 4 >= 2) continue;
      set(ax + static_cast<int>(std::lround(static_cast<double>(bx - ax) * i / steps)),
          ay + static_cast<int>(std::lround(static_cast<double>(by - ay) * i / steps)), style);
    }
  }

  std::string row(int row, bool color) const {
    std::string out;
    for (int column = 0; column < columns_; ++column) {
      const Cell& cell = cells_[static_cast<size_t>(row) * columns_ + column];
      if (cell.dots == 0) {
        out += ' ';
      } else {
        out += color ? kColors[cell.style % kStyles] + glyph(cell) + kReset : glyph(cell);
      }
    }
    return out;
  }

 private:
  struct Cell {
    uint8_t dots = 0;  // bit (row from the top) * wide + column
    uint8_t style = 0;
  };

  static int dot(double share, int dots) {
    return std::clamp(static_cast<int>(std::floor(share * (dots - 1) + 0.5)), 0, dots - 1);
  }

  void set(int x, int y, size_t style) {
    const int from_top = rows_ * high_ - 1 - y;
    Cell& cell = cells_[static_cast<size_t>(from_top / high_) * columns_ + x / wide_];
    cell.dots |= static_cast<uint8_t>(1 << (from_top % high_ * wide_ + x % wide_));
    cell.style = static_cast<uint8_t>(style);
  }

  std::string glyph(const Cell& cell) const {
    if (dots_ == PlotDots::kAscii) return std::string(1, kLetters[cell.style % kStyles]);
    char32_t code = 0x2800;
    if (dots_ == PlotDots::kBlocks) {
      constexpr char32_t kQuadrants[] = {U' ', U'▘', U'▝', U'▀', U'▖', U'▌', U'▞', U'▛',
                                         U'▗', U'▚', U'▐', U'▜', U'▄', U'▙', U'▟', U'█'};
      code = kQuadrants[cell.dots];
    } else {
      constexpr int kBit[] = {0, 3, 1, 4, 2, 5, 6, 7};  // Unicode numbers the dots down the left column first
      for (int i = 0; i < 8; ++i) {
        if ((cell.dots & (1 << i)) != 0) code |= static_cast<char32_t>(1 << kBit[i]);
      }
    }
    return {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
            static_cast<char>(0x80 | (code & 0x3F))};
  }

  int columns_, rows_;
  PlotDots dots_;
  std::vector<Cell> cells_;
  int wide_, high_;
  int drawn_ = 0;
};

class TerminalPlot {
 public:
  TerminalPlot(const Plot& plot, const TerminalPlotOptions& options) : plot_(plot), options_(options) {
    columns_ = std::max(options.columns, kFewestColumns);
    rows_ = std::max(options.rows, kFewestRows) - 4;  // title, legend, axis, its labels
    axes_ = axes_of(plot, std::clamp((columns_ - 8) / 7, 3, 8), std::clamp(rows_ * 2 / 3, 3, 6));
    for (const std::string& label : axes_.y.labels) labels_ = std::max(labels_, letters_of(label));
  }

  std::vector<std::string> draw() const {
    const bool ascii = options_.dots == PlotDots::kAscii;
    const int width = columns_ - labels_ - 1;
    Canvas canvas(width, rows_, options_.dots);
    for (size_t i = 0; i < plot_.series.size(); ++i) draw_series(canvas, plot_.series[i], i);
    std::vector<std::string> out = {styled(fitted(plot_.title, columns_), "\033[1m"), legend()};
    for (int row = 0; row < rows_; ++row) {
      std::string label;
      for (size_t i = 0; i < axes_.y.ticks.size(); ++i) {
        if (row_of(axes_.y.ticks[i]) == row) label = axes_.y.labels[i];
      }
      const char* edge = label.empty() ? (ascii ? "|" : "│") : (ascii ? "+" : "┤");
      out.push_back(fmt::format("{:>{}}", label, labels_) + edge + canvas.row(row, options_.color));
    }
    add_x_axis(out, width, ascii);
    return out;
  }

 private:
  std::string styled(const std::string& text, const char* style) const {
    return options_.color ? style + text + kReset : text;
  }

  int row_of(double y) const { return rows_ - 1 - static_cast<int>(std::lround(axes_.y.at(y) * (rows_ - 1))); }

  void draw_series(Canvas& canvas, const PlotSeries& series, size_t style) const {
    const auto y = series.smoothing > 0 ? smoothed(series.y, series.smoothing) : series.y;
    const bool dashed = style > 0 && !options_.color && options_.dots != PlotDots::kAscii;
    bool down = false;
    double last_x = 0, last_y = 0;
    for (size_t i = 0; i < series.x.size() && i < y.size(); ++i) {
      const bool there = plottable(series.x[i]) && plottable(y[i]);
      if (there) {
        const double at_x = axes_.x.at(series.x[i]), at_y = axes_.y.at(y[i]);
        canvas.line(down ? last_x : at_x, down ? last_y : at_y, at_x, at_y, style, dashed && down);
        last_x = at_x, last_y = at_y;
      }
      down = there;
    }
  }

  // A stroke, the name, the last value of each series. Where they do not all fit, values go, then letters of the names.
  std::string legend() const {
    const auto count = static_cast<int>(plot_.series.size());
    std::vector<std::string> values;
    int names = 5 * count - 2, all = names;  // stroke, blank and name; two blanks between
    for (const PlotSeries& series : plot_.series) {
      values.push_back(last_value(series.y, plot_.percent));
      names += letters_of(series.name);
      all += letters_of(series.name) + 1 + letters_of(values.back());
    }
    std::string out;
    int used = 0;
    for (int i = 0; i < count; ++i) {
      const int letters = letters_of(plot_.series[i].name);
      const int room = names <= columns_ ? letters : std::max(1, (columns_ + 2) / count - 5);
      std::string text = " " + fitted(plot_.series[i].name, std::min(letters, room));
      if (all <= columns_) text += " " + values[i];
      const int width = 2 + letters_of(text) + (i > 0 ? 2 : 0);
      if (used + width > columns_) break;
      out += (i > 0 ? "  " : "") + styled(mark(static_cast<size_t>(i)), kColors[i % kStyles]) + text;
      used += width;
    }
    return out.append(static_cast<size_t>(columns_ - used), ' ');
  }

  std::string mark(size_t series) const {
    if (options_.dots == PlotDots::kAscii) return std::string(2, kLetters[series % kStyles]);
    return series > 0 && !options_.color ? "╌╌" : "──";
  }

  void add_x_axis(std::vector<std::string>& out, int width, bool ascii) const {
    std::vector<std::string> axis(static_cast<size_t>(width), ascii ? "-" : "─");
    std::string labels(static_cast<size_t>(columns_), ' ');
    int free_from = 0;
    for (size_t i = 0; i < axes_.x.ticks.size(); ++i) {
      const int column = static_cast<int>(std::lround(axes_.x.at(axes_.x.ticks[i]) * (width - 1)));
      if (column < 0 || column >= width) continue;
      axis[static_cast<size_t>(column)] = ascii ? "+" : "┬";
      const std::string& label = axes_.x.labels[i];
      const int size = static_cast<int>(label.size());
      const int at = std::clamp(labels_ + 1 + column - size / 2, 0, columns_ - size);
      if (at < free_from) continue;
      labels.replace(static_cast<size_t>(at), label.size(), label);
      free_from = at + size + 1;
    }
    // What x is stands at the left, where there are no labels, or nowhere.
    if (const auto size = plot_.x_label.size(); labels.find_first_not_of(' ') > size && size < labels.size()) {
      labels.replace(0, size, plot_.x_label);
    }
    std::string line(static_cast<size_t>(labels_), ' ');
    line += ascii ? "+" : "└";
    for (const std::string& piece : axis) line += piece;
    out.push_back(std::move(line));
    out.push_back(std::move(labels));
  }

  const Plot& plot_;
  const TerminalPlotOptions& options_;
  PlotAxes axes_;
  int columns_, rows_;  // of the whole; of the lines' field
  int labels_ = 4;      // columns of the y labels
};

}  // namespace

std::vector<std::string> draw_terminal(const Plot& plot, const TerminalPlotOptions& options) {
  return TerminalPlot(plot, options).draw();
}

std::string draw_terminal(std::span<const Plot> plots, const TerminalPlotOptions& options, int across) {
  constexpr int kGap = 2;
  across = std::max(1, across);
  TerminalPlotOptions each = options;
  each.columns = (options.columns - kGap * (across - 1)) / across;
  std::string out;
  for (size_t from = 0; from < plots.size(); from += across) {
    std::vector<std::string> lines;
    for (size_t i = from; i < std::min(from + across, plots.size()); ++i) {
      const auto drawn = draw_terminal(plots[i], each);
      lines.resize(drawn.size());
      for (size_t line = 0; line < drawn.size(); ++line) {
        lines[line] += (i > from ? std::string(kGap, ' ') : "") + drawn[line];
      }
    }
    for (const std::string& line : lines) out += line + "\n";
  }
  return out;
}

}  // namespace throughline

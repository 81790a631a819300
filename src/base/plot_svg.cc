#include "base/plot_svg.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace throughline {
namespace {

// Okabe and Ito's colours, told apart by the colour-blind too; darker on white, lighter on black.
struct Ink {
  const char* light;
  const char* dark;
};
constexpr Ink kInks[] = {{"#0068a8", "#58b4f0"}, {"#c2500a", "#f2934a"}, {"#00805c", "#3fcfa0"},
                         {"#a03b86", "#e093c8"}, {"#8a6d00", "#e3c341"}, {"#57606a", "#a8b2bd"}};
constexpr size_t kInkCount = std::size(kInks);
constexpr int kLeft = 56, kRight = 20, kTop = 52, kBottom = 40;  // margins around the lines, in pixels
constexpr size_t kMostPoints = 1200;                             // of one line: more than its pixels
constexpr size_t kMarkedPoints = 40;                             // up to here each point is a dot
constexpr size_t kMostLetters = 48;

bool valid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const size_t size = lead < 0x80 ? 1 : lead >= 0xC2 && lead < 0xE0 ? 2 : lead < 0xF0 && lead >= 0xE0 ? 3 : 4;
    if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || at + size > text.size()) return false;
    for (size_t i = 1; i < size; ++i) {
      if ((static_cast<unsigned char>(text[at + i]) & 0xC0) != 0x80) return false;
    }
    at += size;
  }
  return true;
}

// As XML text: escaped, without control characters, cut to what a legend can show.
std::string xml(std::string_view text) {
  const bool valid = valid_utf8(text);
  std::string out;
  size_t letters = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool starts = (byte & 0xC0) != 0x80 || !valid;
    if (starts && ++letters > kMostLetters) return out + "…";
    if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !valid)) {
      out += '?';
    } else {
      out += c;
    }
  }
  return out;
}

std::string style() {
  std::string light, dark;
  for (size_t i = 0; i < kInkCount; ++i) {
    light += fmt::format(".l{0}{{stroke:{1}}}.f{0}{{fill:{1}}}", i, kInks[i].light);
    dark += fmt::format(".l{0}{{stroke:{1}}}.f{0}{{fill:{1}}}", i, kInks[i].dark);
  }
  return "<style>text{font:11px system-ui,'Segoe UI','DejaVu Sans',sans-serif;fill:#57606a}.t{font-size:13px;"
         "font-weight:600;fill:#1f2328}.h{font-size:16px;font-weight:600;fill:#1f2328}.e{text-anchor:end}"
         ".m{text-anchor:middle}.b{fill:#fff}.g{stroke:#e4e8ec}.a{stroke:#9aa4ae}"
         ".l{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}.r{stroke-width:1;opacity:.3}" +
         light +
         "@media(prefers-color-scheme:dark){text{fill:#a8b2bd}.t,.h{fill:#e6edf3}.b{fill:#0d1117}"
         ".g{stroke:#262d35}.a{stroke:#6b7580}" +
         dark + "}</style>\n";
}

// Bounds the points of a line: of each run of neighbours the lowest and the highest stay, in order.
void thin_out(std::vector<double>& x, std::vector<double>& y) {
  if (x.size() <= kMostPoints) return;
  std::vector<double> thin_x, thin_y;
  const size_t run = (2 * x.size() + kMostPoints - 1) / kMostPoints;
  for (size_t from = 0; from < x.size(); from += run) {
    const size_t to = std::min(from + run, x.size());
    size_t low = from, high = from;
    for (size_t i = from; i < to; ++i) {
      if (!plottable(y[i])) continue;
      if (!plottable(y[low]) || y[i] < y[low]) low = i;
      if (!plottable(y[high]) || y[i] > y[high]) high = i;
    }
    for (const size_t i : {std::min(low, high), std::max(low, high)}) {
      thin_x.push_back(x[i]);
      thin_y.push_back(y[i]);
      if (low == high) break;
    }
  }
  x = std::move(thin_x);
  y = std::move(thin_y);
}

class Panel {
 public:
  Panel(const Plot& plot, double left, double top, const SvgOptions& options)
      : plot_(plot), axes_(axes_of(plot, 7, 6)), left_(left + kLeft), top_(top + kTop) {
    width_ = std::max(40, options.width - kLeft - kRight);
    height_ = std::max(40, options.height - kTop - kBottom);
  }

  std::string draw() const {
    std::string out = "<g>" + frame() + legend();
    for (size_t i = 0; i < plot_.series.size(); ++i) out += line(plot_.series[i], i);
    return out + "</g>\n";
  }

 private:
  double x_at(double x) const { return left_ + width_ * axes_.x.at(x); }
  double y_at(double y) const { return top_ + height_ * (1 - axes_.y.at(y)); }

  std::string frame() const {
    std::string out;
    for (size_t i = 0; i < axes_.y.ticks.size(); ++i) {
      const double y = y_at(axes_.y.ticks[i]);
      out += fmt::format(
          "<path class=\"{}\" d=\"M{:.1f} {:.1f}h{:.1f}\"/><text class=\"e\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
          axes_.y.ticks[i] == 0 ? "a" : "g", left_, y, width_, left_ - 6, y + 4, axes_.y.labels[i]);
    }
    for (size_t i = 0; i < axes_.x.ticks.size(); ++i) {
      const double x = x_at(axes_.x.ticks[i]);
      out +=
          fmt::format("<path class=\"a\" d=\"M{:.1f} {:.1f}v4\"/><text class=\"m\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
                      x, top_ + height_, x, top_ + height_ + 16, axes_.x.labels[i]);
    }
    out += fmt::format("<path class=\"a\" d=\"M{:.1f} {:.1f}h{:.1f}\"/>", left_, top_ + height_, width_);
    out += fmt::format("<text class=\"m\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", left_ + width_ / 2, top_ + height_ + 32,
                       xml(plot_.x_label));
    return out + fmt::format("<text class=\"t\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", left_ - kLeft + 12, top_ - 32,
                             xml(plot_.title));
  }

  // One row under the title: a stroke, the name, the last value; shared out evenly.
  std::string legend() const {
    std::string out;
    const auto count = static_cast<double>(std::max<size_t>(1, plot_.series.size()));
    const double each = std::min(150.0, (width_ + kLeft - 12) / count);
    for (size_t i = 0; i < plot_.series.size(); ++i) {
      const double x = left_ - kLeft + 12 + each * static_cast<double>(i), y = top_ - 14;
      const std::string& name = plot_.series[i].name;
      const auto letters = static_cast<size_t>(std::max(3.0, each / 6 - 11));
      const bool cut = name.size() > letters;
      out += fmt::format(
          "<path class=\"l l{}\" d=\"M{:.1f} {:.1f}h14\"/><text x=\"{:.1f}\" y=\"{:.1f}\">{}{} {}</text>",
          i % kInkCount, x, y - 4, x + 18, y, cut ? "…" : "",
          xml(cut ? tail_of(name, letters) : std::string_view(name)), last_value(plot_.series[i].y, plot_.percent));
    }
    return out + "\n";
  }

  // Ends of long names tell runs apart; whole characters.
  static std::string_view tail_of(std::string_view name, size_t bytes) {
    name.remove_prefix(name.size() - bytes);
    while (!name.empty() && (static_cast<unsigned char>(name[0]) & 0xC0) == 0x80) name.remove_prefix(1);
    return name;
  }

  std::string line(const PlotSeries& series, size_t index) const {
    const size_t count = std::min(series.x.size(), series.y.size());
    std::vector<double> x(series.x.begin(), series.x.begin() + count), y(series.y.begin(), series.y.begin() + count);
    std::string out;
    std::vector<double> raw_x = x, raw_y = y;
    if (series.smoothing > 0) {
      y = smoothed(raw_y, series.smoothing);
      thin_out(raw_x, raw_y);
      out += path(raw_x, raw_y, fmt::format("l r l{}", index % kInkCount));
    }
    thin_out(x, y);
    out += path(x, y, fmt::format("l l{}", index % kInkCount));
    for (size_t i = 0; i < count && count <= kMarkedPoints; ++i) {
      if (!plottable(x[i]) || !plottable(y[i])) continue;
      out += fmt::format(
          "<circle class=\"f{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.2\"><title>{}: {:.6g} at {:.6g}</title></circle>",
          index % kInkCount, x_at(x[i]), y_at(y[i]), xml(series.name), series.y[i], x[i]);
    }
    return out + "\n";
  }

  // A point between gaps is a dot: a line of no length, with its round caps.
  std::string path(const std::vector<double>& x, const std::vector<double>& y, const std::string& classes) const {
    std::string d;
    const auto there = [&](size_t i) { return i < x.size() && plottable(x[i]) && plottable(y[i]); };
    for (size_t i = 0; i < x.size(); ++i) {
      if (!there(i)) continue;
      const bool first = i == 0 || !there(i - 1);
      d += fmt::format("{}{:.1f} {:.1f}{}", first ? 'M' : 'L', x_at(x[i]), y_at(y[i]),
                       first && !there(i + 1) ? "h0" : "");
    }
    return d.empty() ? "" : fmt::format("<path class=\"{}\" d=\"{}\"/>", classes, d);
  }

  const Plot& plot_;
  PlotAxes axes_;
  double left_, top_, width_, height_;
};

}  // namespace

std::string draw_svg(std::span<const Plot> plots, const SvgOptions& options) {
  const int count = std::max<int>(1, static_cast<int>(plots.size()));
  const int columns = std::clamp(options.columns, 1, count);
  const int heading = options.heading.empty() ? 0 : 36;
  const int width = columns * options.width, height = heading + (count + columns - 1) / columns * options.height;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\">\n",
      width, height);
  out += style() + "<rect class=\"b\" width=\"100%\" height=\"100%\"/>\n";
  if (heading > 0) out += fmt::format("<text class=\"h\" x=\"12\" y=\"26\">{}</text>\n", xml(options.heading));
  for (int i = 0; i < static_cast<int>(plots.size()); ++i) {
    out += Panel(plots[i], i % columns * options.width, heading + i / columns * options.height, options).draw();
  }
  return out + "</svg>\n";
}

}  // namespace throughline

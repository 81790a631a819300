#include "train/run_plots.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include "base/files.h"
#include "base/plot_svg.h"

namespace throughline {
namespace {

constexpr size_t kShortRun = 40;  // steps: drawn as they are
constexpr double kUsualSmoothing = 0.8;

struct Panel {
  const char* file;
  const char* title;
  std::vector<const char*> metrics;
  bool from_zero = true;
};

const std::vector<Panel>& panels() {
  static const std::vector<Panel> table = {
      {"accuracy", "Accuracy", {"accuracy", "eval_accuracy"}},
      {"reward", "Reward", {"reward"}},
      {"tokens", "Tokens a trace", {"trace_tokens_mean"}},
      {"lost", "Cut off, no answer, flat groups", {"truncated", "no_answer", "zero_variance_groups"}},
      {"entropy", "Entropy, nats a token", {"entropy"}},
      {"gap", "Log-prob gap, nats a token", {"logprob_gap_mean", "logprob_gap_max"}},
      {"loss", "Loss", {"loss", "eval_loss"}, false},
      {"chunks", "Chunks a trace", {"chunks_mean"}},
      {"kl", "KL from the reference, nats a token", {"kl"}},
      {"clipped", "Clipped tokens", {"clip_share"}},
      {"gradient", "Gradient norm", {"grad_norm"}},
      {"learning_rate", "Learning rate", {"learning_rate"}},
      {"speed", "Tokens a second", {"tokens_per_s"}},
      {"seconds", "Seconds a step", {"rollout_s", "update_s", "step_s"}},
      {"memory", "Peak memory, MiB", {"peak_rss_mib"}},
  };
  return table;
}

class PlotMaker {
 public:
  PlotMaker(std::span<const PlottedRun> runs, const RunPlotOptions& options) : runs_(runs), options_(options) {
    for (const PlottedRun& run : runs) {
      std::vector<double> x = elapsed_seconds(run.steps);
      for (size_t i = 0; i < x.size() && !options.against_seconds; ++i) x[i] = static_cast<double>(run.steps[i].step);
      x_.push_back(std::move(x));
    }
  }

  // A line of the steps that have the number; those between are not gaps (an evaluation comes every so often).
  std::optional<PlotSeries> series(size_t run, std::string_view metric, std::string name) const {
    PlotSeries out{.name = std::move(name)};
    const auto& steps = runs_[run].steps;
    for (size_t i = 0; i < steps.size(); ++i) {
      if (!steps[i].lists(metric)) continue;
      out.x.push_back(x_[run][i]);
      out.y.push_back(steps[i].get(metric));  // not a number: a gap
    }
    if (std::none_of(out.y.begin(), out.y.end(), plottable)) return std::nullopt;
    out.smoothing = options_.smoothing.value_or(out.y.size() < kShortRun ? 0 : kUsualSmoothing);
    return out;
  }

  void add(std::vector<RunPlot>& out, const std::string& file, const std::string& title,
           const std::vector<std::string>& metrics, bool from_zero) const {
    Plot plot{.title = title, .x_label = options_.against_seconds ? "seconds" : "step", .from_zero = from_zero};
    plot.percent = true;
    for (const std::string& metric : metrics) {
      const MetricInfo* info = find_metric(metric);
      for (size_t run = 0; run < runs_.size(); ++run) {
        const std::string label = info != nullptr ? std::string(info->label) : metric;
        auto line = series(run, metric, runs_.size() > 1 ? runs_[run].name : label);
        if (!line) continue;
        plot.percent = plot.percent && info != nullptr && info->kind == MetricKind::kShare &&
                       std::all_of(line->y.begin(), line->y.end(), [](double y) { return !(y < 0 || y > 1); });
        plot.series.push_back(std::move(*line));
      }
    }
    if (!plot.series.empty()) out.push_back({file, std::move(plot)});
  }

 private:
  std::span<const PlottedRun> runs_;
  const RunPlotOptions& options_;
  std::vector<std::vector<double>> x_;  // of each run
};

std::string title_of(const std::string& metric) {
  const MetricInfo* info = find_metric(metric);
  return info != nullptr ? std::string(info->title) : metric;
}

// As a file's name: a metric may be called anything.
std::string file_name(const std::string& metric) {
  std::string out = metric.substr(0, 64);
  for (char& c : out) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-') c = '_';
  }
  return out.empty() ? "_" : out;
}

}  // namespace

std::vector<RunPlot> make_run_plots(std::span<const PlottedRun> runs, const RunPlotOptions& options) {
  const PlotMaker maker(runs, options);
  std::vector<RunPlot> out;
  for (const std::string& metric : options.metrics) {
    maker.add(out, file_name(metric), title_of(metric), {metric}, metric != "loss" && metric != "eval_loss");
  }
  if (!options.metrics.empty()) return out;
  std::vector<Panel> ordered = panels();
  const bool rewarded = std::any_of(runs.begin(), runs.end(), [](const PlottedRun& run) {
    return !run.steps.empty() && run.steps.front().lists("reward");
  });
  if (!rewarded) {  // SFT: the loss is what one looks at
    std::stable_partition(ordered.begin(), ordered.end(),
                          [](const Panel& panel) { return panel.file == std::string_view("loss"); });
  }
  for (const Panel& panel : ordered) {
    if (runs.size() == 1) {
      maker.add(out, panel.file, panel.title, {panel.metrics.begin(), panel.metrics.end()}, panel.from_zero);
      continue;
    }
    for (const char* metric : panel.metrics) maker.add(out, metric, title_of(metric), {metric}, panel.from_zero);
  }
  return out;
}

Result<std::string> write_run_plots(const std::string& folder, std::span<const RunPlot> plots,
                                    const std::string& heading) {
  TL_TRY_STATUS(make_directories(folder));
  std::vector<Plot> all;
  for (const RunPlot& plot : plots) {
    const std::string svg = draw_svg({&plot.plot, 1}, {.columns = 1, .width = 640, .height = 360});
    TL_TRY_STATUS(write_atomically(join_path(folder, plot.file + ".svg"), svg));
    all.push_back(plot.plot);
  }
  const std::string path = join_path(folder, "overview.svg");
  TL_TRY_STATUS(write_atomically(path, draw_svg(all, {.heading = heading})));
  return path;
}

std::string run_plots_text(std::span<const RunPlot> plots, const TerminalPlotOptions& options, size_t most) {
  constexpr int kBesideColumns = 72;  // from here on two plots fit side by side
  if (plots.empty() || most == 0) return "";
  std::vector<Plot> rest;
  for (size_t i = 1; i < std::min(plots.size(), most); ++i) rest.push_back(plots[i].plot);
  TerminalPlotOptions small = options;
  small.rows = std::max(8, options.rows * 2 / 3);
  return draw_terminal({&plots[0].plot, 1}, options, 1) +
         draw_terminal(rest, small, options.columns >= kBesideColumns ? 2 : 1);
}

std::vector<std::string> run_names(std::span<const std::string> folders) {
  std::vector<std::vector<std::string>> parts;
  size_t most = 1;
  for (const std::string& folder : folders) {
    parts.emplace_back();
    for (const auto& part : std::filesystem::path(folder).lexically_normal()) {
      if (!part.empty() && part != "." && part != "/") parts.back().push_back(part.string());
    }
    if (parts.back().empty()) parts.back().push_back(folder);
    most = std::max(most, parts.back().size());
  }
  for (size_t count = 1;; ++count) {
    std::vector<std::string> names;
    for (const auto& path : parts) {
      std::string name;
      for (size_t i = path.size() - std::min(count, path.size()); i < path.size(); ++i) {
        name += (name.empty() ? "" : "/") + path[i];
      }
      names.push_back(name);
    }
    if (std::set<std::string>(names.begin(), names.end()).size() == names.size() || count >= most) return names;
  }
}

}  // namespace throughline

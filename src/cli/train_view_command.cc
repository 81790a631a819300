#include "cli/train_view_command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/files.h"
#include "cli/interrupt.h"
#include "cli/number_range.h"
#include "cli/raw_terminal.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "cli/trace_browser.h"
#include "train/run_plots.h"

namespace throughline {
namespace {

struct ViewOptions {
  std::string run, filter, step, reward, verdict, finish, sort = "file";
  bool reverse = false, print = false, list = false, ids = false, ascii = false;
  int64_t limit = 0;
};

struct PlotOptions {
  std::vector<std::string> runs, metrics;
  std::string x = "step", output;
  double smooth = -1;
  bool ascii = false, blocks = false, all = false;
};

// A run's folder, or the file itself.
std::string file_of(const std::string& run, const char* name) { return is_directory(run) ? join_path(run, name) : run; }

// False when nobody reads any more (a closed pipe).
bool put(const std::string& text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

Result<TraceFilter> filter_of(const ViewOptions& options) {
  std::string words = options.filter;
  for (const auto& [name, value] : {std::pair("step", &options.step), std::pair("reward", &options.reward),
                                    std::pair("verdict", &options.verdict), std::pair("finish", &options.finish)}) {
    if (!value->empty()) words += fmt::format("{}{}={}", words.empty() ? "" : " ", name, *value);
  }
  return parse_trace_filter(words, "train view");
}

int browse(TraceFile file, TraceBrowserOptions options) {
  constexpr int kRefresh_ms = 1000;
  TraceBrowser browser(std::move(file), std::move(options));
  const bool color = wants_color(STDOUT_FILENO);
  RawTerminal terminal;
  while (!browser.quit() && !terminal.closed() && !interrupted()) {
    const TerminalSize size = terminal_size(STDOUT_FILENO);
    browser.resize(size.columns, size.rows);
    std::string frame;
    for (const StyledLine& line : browser.frame()) frame += (frame.empty() ? "" : "\n") + to_ansi(line, color);
    terminal.draw(frame);
    const auto keys = terminal.keys(kRefresh_ms);
    for (const KeyPress& key : keys) browser.press(key);
    if (keys.empty()) browser.refresh();
  }
  return interrupted() ? kInterruptedExit : 0;
}

int print_list(const TraceFile& file, const std::vector<size_t>& selected, int columns, bool color) {
  if (!put(to_ansi(trace_list_heading(columns), color) + "\n")) return 0;
  for (const size_t i : selected) {
    if (!put(to_ansi(trace_list_line(file.entries()[i].summary, columns), color) + "\n")) break;
  }
  return interrupted() ? kInterruptedExit : 0;
}

int print_traces(const TraceFile& file, const std::vector<size_t>& selected, const TraceTextOptions& options,
                 bool color) {
  bool first = true;
  for (const size_t i : selected) {
    const auto trace = file.read(file.entries()[i]);
    if (!trace.ok()) {
      fmt::print(stderr, "throughline: skipped a bad line: {}\n", trace.error().line());
      continue;
    }
    std::string text = first ? "" : "\n\n";
    first = false;
    for (const StyledLine& line : render_trace(*trace, options).lines) text += to_ansi(line, color) + "\n";
    if (!put(text) || interrupted()) break;
  }
  return interrupted() ? kInterruptedExit : 0;
}

Result<int> view(const ViewOptions& options) {
  TL_TRY(TraceFilter filter, filter_of(options));
  const auto order = find_order(options.sort);
  if (!order)
    return Error{"unknown order \"" + options.sort + "\"", "--sort", "use file, length, reward, advantage or step"};
  TL_TRY(TraceFile file, TraceFile::open(file_of(options.run, "traces.jsonl")));
  const bool terminal = ::isatty(STDOUT_FILENO) != 0;
  const bool ascii = options.ascii || (terminal && !speaks_utf8());
  if (!options.print && !options.list && terminal && ::isatty(STDIN_FILENO) != 0) {
    return browse(std::move(file), {std::move(filter), *order, options.reverse, ascii});
  }
  if (!file.skipped().empty()) fmt::print(stderr, "throughline: {}\n", file.skipped());
  auto selected = select_traces(file.entries(), filter, *order, options.reverse);
  const size_t found = selected.size();
  if (options.limit > 0 && selected.size() > static_cast<size_t>(options.limit)) selected.resize(options.limit);
  const int columns = terminal ? terminal_size(STDOUT_FILENO).columns : 120;
  const bool color = wants_color(STDOUT_FILENO);
  const int status = options.print ? print_traces(file, selected, {columns, options.ids, ascii}, color)
                                   : print_list(file, selected, columns, color);
  const bool some = selected.size() < found;
  fmt::print(stderr, "{}{} of {} traces\n", some ? fmt::format("the first {} of ", selected.size()) : "", found,
             file.entries().size());
  return status;
}

Result<int> plot(const PlotOptions& options) {
  std::vector<PlottedRun> runs;
  const auto names = run_names(options.runs);
  for (size_t i = 0; i < options.runs.size(); ++i) {
    TL_TRY(RunMetrics metrics, read_run_metrics(file_of(options.runs[i], "metrics.jsonl")));
    if (!metrics.skipped.empty()) fmt::print(stderr, "throughline: {}\n", metrics.skipped);
    runs.push_back({names[i], std::move(metrics.steps)});
  }
  RunPlotOptions how{.against_seconds = options.x == "seconds", .metrics = options.metrics};
  if (options.smooth >= 0) how.smoothing = options.smooth;
  const auto plots = make_run_plots(runs, how);
  if (plots.empty()) {
    return Error{options.metrics.empty() ? "no step has been measured yet" : "no step has such a metric",
                 options.runs[0], options.metrics.empty() ? "" : "the names are those in metrics.jsonl"};
  }
  const bool terminal = ::isatty(STDOUT_FILENO) != 0;
  const bool ascii = options.ascii || (terminal && !speaks_utf8());
  const TerminalPlotOptions text{.columns = terminal ? terminal_size(STDOUT_FILENO).columns : 80,
                                 .rows = 15,
                                 .dots = ascii            ? PlotDots::kAscii
                                         : options.blocks ? PlotDots::kBlocks
                                                          : PlotDots::kBraille,
                                 .color = wants_color(STDOUT_FILENO)};
  const bool whole = options.all || !options.metrics.empty();
  put(run_plots_text(plots, text, whole ? plots.size() : 5));
  std::string output = options.output;
  if (output.empty() && options.runs.size() == 1 && is_directory(options.runs[0]))
    output = join_path(options.runs[0], "plots");
  if (output.empty()) return 0;
  std::string heading;
  for (const std::string& name : names) heading += (heading.empty() ? "" : ", ") + name;
  TL_TRY(const std::string overview, write_run_plots(output, plots, heading));
  fmt::print(stderr, "plots: {}\n", overview);
  return 0;
}

void add_view(CLI::App& train, int* exit_status) {
  const auto options = std::make_shared<ViewOptions>();
  CLI::App* command = train.add_subcommand(
      "view", "browse the traces of a run: chunks, carried tail, forced tokens, reward; ? lists the keys");
  command->add_option("run", options->run, "run directory, or its traces.jsonl")->required();
  command->add_option("--step", options->step, "steps to show: 3, 3..5, 3.. or ..5");
  command->add_option("--reward", options->reward, "rewards to show, as a range");
  command->add_option("--verdict", options->verdict, "right, wrong, no_answer, ...");
  command->add_option("--finish", options->finish, "how they ended: stop, length, eos, max_chunks, loop, ...");
  command->add_option("--filter", options->filter,
                      "more of the kind, blanks between: trace= group= advantage= tokens= task=");
  command->add_option("--sort", options->sort, "file, length, reward, advantage (largest first) or step")
      ->capture_default_str();
  command->add_flag("--reverse", options->reverse, "the other way round");
  command->add_flag("--list", options->list, "print the list and end");
  command->add_flag("--print", options->print, "print the traces in full and end");
  command->add_option("--limit", options->limit, "print at most so many; 0: all")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--ids", options->ids, "with --print: token ids, too");
  command->add_flag("--ascii", options->ascii, "no letters beyond ASCII in frames and marks");
  command->callback([options, exit_status] { *exit_status = report(view(*options)); });
}

void add_plot(CLI::App& train, int* exit_status) {
  const auto options = std::make_shared<PlotOptions>();
  CLI::App* command =
      train.add_subcommand("plot", "draw a run's metrics in the terminal and as SVG; several runs over each other");
  command->add_option("runs", options->runs, "run directories, or metrics.jsonl files")->required();
  command->add_option("--x", options->x, "against step or seconds")
      ->capture_default_str()
      ->check(CLI::IsMember({"step", "seconds"}));
  command->add_option("--smooth", options->smooth, "weight of the past, 0 to 0.999; default: 0.8 from 40 steps on")
      ->check(number_range(0.0, 0.999));
  command->add_option("--metric", options->metrics, "a metric to draw (may be repeated); default: the usual panels")
      ->allow_extra_args(false);
  command->add_flag("--all", options->all, "all panels in the terminal; default: the first five");
  command->add_option("--output", options->output, "folder for the SVG files; default for one run: RUN/plots");
  command->add_flag("--blocks", options->blocks, "block letters, where braille is missing in the font");
  command->add_flag("--ascii", options->ascii, "nothing beyond ASCII");
  command->callback([options, exit_status] { *exit_status = report(plot(*options)); });
}

}  // namespace

void add_train_view_commands(CLI::App& train, int* exit_status) {
  add_view(train, exit_status);
  add_plot(train, exit_status);
}

}  // namespace throughline

#include "train/run_table.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/number_text.h"

namespace throughline {
namespace {

constexpr std::string_view kBold = "\033[1m", kAlarm = "\033[1;33m", kReset = "\033[0m";
constexpr int kTelling = 10;    // rank of the last column that one would miss
constexpr int kNarrowest = 40;  // columns: below that, lines may wrap

std::string right(const std::string& text, int width) { return fmt::format("{:>{}}", text, width); }

// Words to lines of at most `columns`; later lines are indented. Plain ASCII, as our warnings are.
std::string wrap_words(const std::string& text, int columns, const std::string& indent) {
  std::string out, line;
  for (size_t from = 0; from < text.size();) {
    const size_t end = std::min(text.find(' ', from), text.size());
    const std::string word = text.substr(from, end - from);
    from = end + 1;
    if (!line.empty() && static_cast<int>(line.size() + 1 + word.size()) > columns) {
      out += line + "\n";
      line = indent + word;
    } else {
      line += (line.empty() ? "" : " ") + word;
    }
  }
  return out + line;
}

}  // namespace

struct RunTable::Column {
  std::string_view metric;
  const char* heading;
  int width;
  int rank;  // the lower, the longer it stays when room is short
  int decimals = 3;

  static const std::vector<Column>& all();
  double value(const StepMetrics& metrics) const {
    if (metric != "step_s" || metrics.has("step_s")) return metrics.get(metric);
    return metrics.get("rollout_s") + metrics.get("update_s");
  }
  std::string cell(const StepMetrics& metrics) const {
    const double number = value(metrics);
    const MetricInfo* info = find_metric(metric);
    if (std::isnan(number) && !metrics.lists(metric)) return "-";  // not measured in this step
    if (info != nullptr && info->kind == MetricKind::kShare) return fit_share(number, width);
    if (info != nullptr && info->kind == MetricKind::kMebibytes) return fit_mebibytes(number, width);
    return fit_number(number, width, decimals);
  }
};

const std::vector<RunTable::Column>& RunTable::Column::all() {
  static const std::vector<Column> table = {
      {"reward", "reward", 6, 1},
      {"accuracy", "right", 5, 2},
      {"eval_accuracy", "held-out", 8, 3},
      {"trace_tokens_mean", "tokens", 6, 4, 1},
      {"chunks_mean", "chunks", 6, 7, 2},
      {"truncated", "cut", 5, 5},
      {"no_answer", "no ans", 6, 12},
      {"zero_variance_groups", "flat", 5, 13},
      {"loss", "loss", 7, 11, 4},
      {"eval_loss", "held-out", 8, 4, 4},
      {"entropy", "entropy", 7, 8},
      {"logprob_gap_mean", "gap", 7, 6, 4},
      {"logprob_gap_max", "gap max", 7, 14, 4},
      {"grad_norm", "grad", 6, 15},
      {"learning_rate", "lr", 7, 16, 4},
      {"tokens_per_s", "tok/s", 6, 9, 0},
      {"rollout_s", "sample s", 8, 17, 1},
      {"update_s", "update s", 8, 18, 1},
      {"step_s", "seconds", 7, 8, 1},
      {"peak_rss_mib", "memory", 6, 10},
  };
  return table;
}

RunTable::RunTable(RunTableOptions options) : options_(std::move(options)) {
  step_width_ = std::max(4, static_cast<int>(std::to_string(options_.total_steps).size()));
}

RunTable::~RunTable() = default;

int RunTable::room() const { return options_.columns == 0 ? 1 << 20 : std::max(options_.columns, kNarrowest); }

// The columns that fit, with `gap` blanks before each; the least telling ones go first.
std::vector<const RunTable::Column*> RunTable::fitting(int gap) const {
  std::vector<const Column*> out;
  const bool sft = seen_.count("reward") == 0;
  const auto rank = [&](const Column* column) { return sft && column->metric == "loss" ? 0 : column->rank; };
  int width = step_width_;
  for (const Column& column : Column::all()) {
    const bool sum = column.metric == "step_s" && seen_.count("rollout_s") != 0;
    if (!sum && seen_.count(column.metric) == 0) continue;
    out.push_back(&column);
    width += column.width + gap;
  }
  while (width > room() && !out.empty()) {
    const auto last =
        std::max_element(out.begin(), out.end(), [&](const Column* a, const Column* b) { return rank(a) < rank(b); });
    width -= (*last)->width + gap;
    out.erase(last);
  }
  return out;
}

// Two blanks between columns look better; one, where it saves a column that should not be missed.
void RunTable::choose() {
  const auto telling = [](const std::vector<const Column*>& columns) {
    return std::count_if(columns.begin(), columns.end(), [](const Column* column) { return column->rank <= kTelling; });
  };
  auto wide = fitting(2), narrow = fitting(1);
  gap_ = telling(narrow) > telling(wide) ? 1 : 2;
  chosen_ = gap_ == 1 ? std::move(narrow) : std::move(wide);
}

std::string RunTable::header() const {
  std::string line = right("step", step_width_);
  for (const Column* column : chosen_) line += std::string(gap_, ' ') + right(column->heading, column->width);
  return styled(line, kBold) + "\n";
}

std::string RunTable::styled(const std::string& text, std::string_view style) const {
  return options_.color ? std::string(style) + text + std::string(kReset) : text;
}

std::string RunTable::warning_lines(int64_t step, const std::vector<RunWarning>& warnings) {
  std::string out;
  for (const RunWarning& warning : warnings) {
    const auto told = told_.find(warning.metric);
    if (told != told_.end() && step - told->second < kRepeatSteps && step >= told->second) continue;
    told_[std::string(warning.metric)] = step;
    const std::string text = "WARNING " + warning.what + "; " + warning.remedy;
    out += styled(wrap_words(text, room(), "        "), kAlarm) + "\n";
  }
  return out;
}

std::string RunTable::row(const StepMetrics& metrics) {
  bool more = false;
  for (const auto& [name, value] : metrics.values) more |= seen_.insert(name).second;
  const int columns = std::exchange(columns_, options_.columns);
  std::string out;
  const bool due = options_.header_every > 0 && since_header_ >= options_.header_every;
  if (more || columns != columns_) {
    const auto before = chosen_;
    choose();
    if (chosen_ != before) since_header_ = -1;
  }
  if (due || since_header_ < 0) {
    out += header();
    since_header_ = 0;
  }
  ++since_header_;
  const auto warnings = find_warnings(metrics, options_.warnings);
  out += right(std::to_string(metrics.step), step_width_);
  for (const Column* column : chosen_) {
    const std::string cell = right(column->cell(metrics), column->width);
    const bool alarm = std::any_of(warnings.begin(), warnings.end(),
                                   [&](const RunWarning& warning) { return warning.metric == column->metric; });
    out += std::string(gap_, ' ') + (alarm ? styled(cell, kAlarm) : cell);
  }
  return out + "\n" + warning_lines(metrics.step, warnings);
}

}  // namespace throughline

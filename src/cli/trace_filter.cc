#include "cli/trace_filter.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace throughline {
namespace {

constexpr std::string_view kKnown = "step, trace, group, reward, advantage, tokens, verdict, finish, task";

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || std::isnan(value)) return std::nullopt;
  return value;
}

// Larger first; what is no number last.
bool before(double a, double b) { return std::isnan(b) ? !std::isnan(a) : a > b; }

}  // namespace

Result<NumberRange> parse_number_range(std::string_view text, const std::string& where) {
  const size_t dots = text.find("..");
  const std::string_view from = text.substr(0, dots);
  const std::string_view to = dots == std::string_view::npos ? from : text.substr(dots + 2);
  const bool open = dots != std::string_view::npos;
  NumberRange range;
  bool good = !text.empty() && text != "..";
  if (!from.empty() || !open) {
    const auto value = parse_number(from);
    good = good && value;
    range.low = value.value_or(0);
  }
  if (!to.empty() || !open) {
    const auto value = parse_number(to);
    good = good && value;
    range.high = value.value_or(0);
  }
  if (good && range.low <= range.high) return range;
  return Error{"\"" + std::string(text) + "\" is not a range", where, "write 3, 3..5, 3.. or ..5"};
}

bool TraceFilter::matches(const TraceSummary& trace) const {
  const auto holds = [](const std::optional<NumberRange>& range, double value) {
    return !range || range->holds(value);
  };
  return holds(step, static_cast<double>(trace.step)) && holds(index, static_cast<double>(trace.index)) &&
         holds(group, static_cast<double>(trace.group)) && holds(reward, trace.reward) &&
         holds(advantage, trace.advantage) && holds(tokens, static_cast<double>(trace.tokens)) &&
         (verdict.empty() || verdict == trace.verdict) && (task.empty() || task == trace.task) &&
         (finish.empty() || finish == trace.finish_reason || finish == trace.finish_detail);
}

Result<TraceFilter> parse_trace_filter(std::string_view text, const std::string& where) {
  TraceFilter filter;
  filter.text = text;
  for (size_t at = 0; (at = text.find_first_not_of(' ', at)) != std::string_view::npos;) {
    const std::string_view word = text.substr(at, std::min(text.find(' ', at), text.size()) - at);
    at += word.size();
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : word.substr(equals + 1);
    std::optional<NumberRange>* const range = name == "step"        ? &filter.step
                                              : name == "trace"     ? &filter.index
                                              : name == "group"     ? &filter.group
                                              : name == "reward"    ? &filter.reward
                                              : name == "advantage" ? &filter.advantage
                                              : name == "tokens"    ? &filter.tokens
                                                                    : nullptr;
    std::string* const exact = name == "verdict"  ? &filter.verdict
                               : name == "finish" ? &filter.finish
                               : name == "task"   ? &filter.task
                                                  : nullptr;
    if (range != nullptr) {
      TL_TRY(*range, parse_number_range(value, where + ": " + std::string(name)));
    } else if (exact != nullptr && !value.empty()) {
      *exact = value;
    } else {
      return Error{"cannot read \"" + std::string(word) + "\"", where,
                   "write NAME=VALUE with one of: " + std::string(kKnown)};
    }
  }
  return filter;
}

std::string_view order_name(TraceOrder order) {
  switch (order) {
    case TraceOrder::kFile:
      return "file";
    case TraceOrder::kTokens:
      return "length";
    case TraceOrder::kReward:
      return "reward";
    case TraceOrder::kAdvantage:
      return "advantage";
    case TraceOrder::kStep:
      return "step";
  }
  return "";
}

std::optional<TraceOrder> find_order(std::string_view name) {
  for (const auto order :
       {TraceOrder::kFile, TraceOrder::kTokens, TraceOrder::kReward, TraceOrder::kAdvantage, TraceOrder::kStep}) {
    if (name == order_name(order)) return order;
  }
  return std::nullopt;
}

std::vector<size_t> select_traces(std::span<const TraceEntry> entries, const TraceFilter& filter, TraceOrder order,
                                  bool reversed) {
  std::vector<size_t> out;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (filter.matches(entries[i].summary)) out.push_back(i);
  }
  std::stable_sort(out.begin(), out.end(), [&](size_t a, size_t b) {
    const TraceSummary &left = entries[a].summary, &right = entries[b].summary;
    switch (order) {
      case TraceOrder::kFile:
        return false;
      case TraceOrder::kTokens:
        return left.tokens > right.tokens;
      case TraceOrder::kReward:
        return before(left.reward, right.reward);
      case TraceOrder::kAdvantage:
        return before(left.advantage, right.advantage);
      case TraceOrder::kStep:
        return left.step < right.step;
    }
    return false;
  });
  if (reversed) std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace throughline

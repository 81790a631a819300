// Which traces of a run one wants to see, and in what order: "step=3..5 reward=0..0.5 verdict=wrong". The same words in
// `train view`'s options and behind its filter key. Pure.
#pragma once

#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "train/trace_file.h"

namespace throughline {

struct NumberRange {  // both ends belong to it
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
  bool holds(double value) const { return value >= low && value <= high; }  // NaN: no
};
// "3", "3..5", "3..", "..5"
Result<NumberRange> parse_number_range(std::string_view text, const std::string& where);

struct TraceFilter {
  std::optional<NumberRange> step, index, group, reward, advantage, tokens;
  std::string verdict, finish, task;  // whole words; finish: reason or detail
  std::string text;                   // what was typed, to show and to edit

  bool matches(const TraceSummary& trace) const;
};
// Words NAME=RANGE or NAME=WORD, blanks between. Empty text: everything matches.
Result<TraceFilter> parse_trace_filter(std::string_view text, const std::string& where);

enum class TraceOrder { kFile, kTokens, kReward, kAdvantage, kStep };
std::string_view order_name(TraceOrder order);  // "file", "length", "reward", "advantage", "step"
std::optional<TraceOrder> find_order(std::string_view name);

// Indices into `entries`. Length, reward and advantage: the largest first; ties as they stand in the file.
std::vector<size_t> select_traces(std::span<const TraceEntry> entries, const TraceFilter& filter, TraceOrder order,
                                  bool reversed);

}  // namespace throughline

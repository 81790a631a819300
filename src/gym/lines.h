// The JSON Lines side of the tasks: what `gym sample`, `gym check` and `gym lengths` do, without files or streams.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gym/task.h"

namespace throughline {

struct CheckedLine {
  std::string text;  // {"id","verdict"}, or {"id","line","error"} where the line is not an item with a response
  bool bad = false;
};
// Judges from the line alone. `number` counts from 1. Never throws, whatever the line holds.
CheckedLine check_line(const std::vector<std::unique_ptr<const Task>>& tasks, std::string_view line, size_t number);

// A Markdown table of the trace lengths (in characters) that difficulties cause: mean, median, 90th percentile,
// largest, and the mean length of puzzle and answer; `count` items each, of seed `seed`.
std::string length_table(const std::vector<TaskSpec>& levels, uint64_t seed, uint64_t count);

// What `gym list` prints: each task with its options, defaults and ladder.
std::string describe_tasks(const std::vector<std::unique_ptr<const Task>>& tasks);

}  // namespace throughline

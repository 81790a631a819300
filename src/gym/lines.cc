#include "gym/lines.h"

#include <algorithm>
#include <cstdio>

namespace throughline {
namespace {

Result<std::string> check_item(const std::vector<std::unique_ptr<const Task>>& tasks, const Json& line,
                               const std::string& where) {
  TL_TRY(const TaskItem item, item_from_json(line, where));
  const Task* task = find_task(tasks, item.task);
  if (task == nullptr) return Error{"unknown task \"" + item.task + "\"", where, "`gym list` names the tasks"};
  TL_TRY_STATUS([&]() -> Status {
    const auto difficulty = parse_difficulty(*task, item.difficulty, where + ": difficulty");
    return difficulty.ok() ? Status() : Status(difficulty.error());
  }());
  const auto response = line.find("response");
  if (response == line.end() || !response->is_string()) {
    return Error{"has no text \"response\"", where, "add the response to the line that gym sample wrote"};
  }
  return std::string(verdict_name(task->check(item, response->get_ref<const std::string&>())));
}

}  // namespace

CheckedLine check_line(const std::vector<std::unique_ptr<const Task>>& tasks, std::string_view line, size_t number) {
  const std::string where = "line " + std::to_string(number);
  Json id = nullptr;
  Error error;
  if (auto parsed = parse_json(line, where); !parsed.ok()) {
    error = parsed.error();
  } else {
    if (parsed->is_object() && parsed->contains("id")) id = (*parsed)["id"];
    auto verdict = check_item(tasks, *parsed, where);
    if (verdict.ok()) return {dump_json(Json{{"id", id}, {"verdict", *verdict}}), false};
    error = verdict.error();
  }
  return {dump_json(Json{{"id", id}, {"line", number}, {"error", error.line()}}), true};
}

std::string length_table(const std::vector<TaskSpec>& levels, uint64_t seed, uint64_t count) {
  std::string out =
      "| difficulty | trace: mean | median | 90 % | largest | puzzle: mean | answer: mean "
      "|\n|---|---:|---:|---:|---:|---:|---:|\n";
  for (const TaskSpec& level : levels) {
    std::vector<size_t> lengths;
    double trace = 0, puzzle = 0, answer = 0;
    for (uint64_t i = 0; i < count; ++i) {
      const TaskItem item = level.task->generate(seed, i, level.difficulty);
      lengths.push_back(item.trace.size());
      trace += static_cast<double>(item.trace.size());
      const std::string_view prompt(item.prompt.data(), item.prompt.size() - 1);  // without its last newline
      puzzle += static_cast<double>(prompt.size() - (prompt.rfind('\n') + 1));    // npos + 1 is 0: the puzzle alone
      answer += static_cast<double>(item.answer.size());
    }
    if (lengths.empty()) continue;
    std::sort(lengths.begin(), lengths.end());
    const auto n = static_cast<double>(count);
    char row[400];
    std::snprintf(row, sizeof row, "| `%.200s` | %.0f | %zu | %zu | %zu | %.0f | %.0f |\n", level.text.c_str(),
                  trace / n, lengths[lengths.size() / 2],
                  lengths[std::min(lengths.size() - 1, lengths.size() * 9 / 10)], lengths.back(), puzzle / n,
                  answer / n);
    out += row;
  }
  return out;
}

std::string describe_tasks(const std::vector<std::unique_ptr<const Task>>& tasks) {
  std::string out;
  for (const auto& task : tasks) {
    const std::vector<SpecInfo> info = {task->info()};
    out += describe_specs(info);
    out += "      from easy to hard:";
    for (const auto& level : task->ladder()) out += " " + level.substr(level.find(':') + 1);
    out += "\n\n";
  }
  out +=
      "In every trace the last line is the answer line, \"A: \" and the answer; only such a line of a response is "
      "read.\n";
  return out;
}

}  // namespace throughline

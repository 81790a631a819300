#include "gym/task.h"

#include <algorithm>

#include "gym/task_text.h"
#include "gym/tasks/chain_sum.h"
#include "gym/tasks/countdown.h"
#include "gym/tasks/digit_completion.h"
#include "gym/tasks/iterate_map.h"
#include "gym/tasks/latin_square.h"
#include "gym/tasks/long_multiplication.h"
#include "gym/tasks/maze.h"
#include "gym/tasks/number_sorting.h"
#include "gym/tasks/planted_fact.h"
#include "gym/tasks/three_sat.h"
#include "gym/tasks/tower_of_hanoi.h"

namespace throughline {
namespace {

constexpr uint64_t kStyleSeed = 0x7374796C65;  // "style": apart from the puzzle's draws

// FNV-1a: tasks under one seed must not share draws.
uint64_t hash_name(std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325;
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001B3;
  return hash;
}

std::string_view puzzle_of(std::string_view prompt) {
  prompt = trim_spaces(prompt);
  const size_t newline = prompt.rfind('\n');
  return newline == std::string_view::npos ? prompt : trim_spaces(prompt.substr(newline + 1));
}

Json difficulty_json(const SpecInfo& info, const Spec& spec) {
  Json out = Json::object();
  for (const auto& option : info.options) {
    if (!spec.has(option.name)) continue;
    if (option.type == OptionType::kInteger) {
      out[option.name] = spec.integer(option.name);
    } else if (option.type == OptionType::kNumber) {
      out[option.name] = spec.number(option.name);
    } else if (option.type == OptionType::kBoolean) {
      out[option.name] = spec.boolean(option.name);
    } else {
      out[option.name] = spec.text(option.name);
    }
  }
  return out;
}

Result<std::string> text_field(const Json& line, const char* name, bool required, const std::string& where) {
  const auto found = line.find(name);
  if (found == line.end() && !required) return std::string();
  if (found == line.end())
    return Error{std::string("has no \"") + name + "\"", where, "give the line as gym sample wrote it"};
  if (!found->is_string()) return Error{"must be a string", where + ": " + name, ""};
  return found->get<std::string>();
}

}  // namespace

std::string_view verdict_name(TaskVerdict verdict) {
  switch (verdict) {
    case TaskVerdict::kRight:
      return "right";
    case TaskVerdict::kWrong:
      return "wrong";
    case TaskVerdict::kNoAnswer:
      break;
  }
  return "no_answer";
}

double task_reward(TaskVerdict verdict, double format_share) {
  if (verdict == TaskVerdict::kRight) return 1;
  return verdict == TaskVerdict::kWrong ? std::clamp(format_share, 0.0, 0.1) : 0;
}

std::string_view find_answer(std::string_view response) {
  constexpr std::string_view kThinkEnd = "</think>";
  if (const size_t end = response.rfind(kThinkEnd); end != std::string_view::npos) {
    response.remove_prefix(end + kThinkEnd.size());
  }
  while (true) {
    const size_t newline = response.rfind('\n');
    const std::string_view line =
        trim_spaces(newline == std::string_view::npos ? response : response.substr(newline + 1));
    if (line.substr(0, 2) == "A:") return trim_spaces(line.substr(2));
    if (newline == std::string_view::npos) return {};
    response = response.substr(0, newline);
  }
}

std::vector<OptionInfo> common_options() {
  return {{.name = "form",
           .type = OptionType::kChoice,
           .default_text = "words",
           .help = "prompt: the puzzle under an explanation, or the puzzle line alone",
           .choices = {"words", "compact"}},
          {.name = "style",
           .type = OptionType::kChoice,
           .default_text = "varied",
           .help = "trace: wording and separators drawn per item, or always the same",
           .choices = {"varied", "plain"}}};
}

TaskItem Task::generate(uint64_t seed, uint64_t index, const Spec& difficulty) const {
  const SpecInfo described = info();
  CounterStream draw(seed ^ hash_name(described.method), index, RngPurpose::kTask);
  CounterStream style(seed ^ hash_name(described.method) ^ kStyleSeed, index, RngPurpose::kTask);
  Draft made = draft(difficulty, draw, style);
  TaskItem item;
  item.task = described.method;
  item.id = item.task + "-" + std::to_string(seed) + "-" + std::to_string(index);
  item.prompt = made.puzzle + "\n";
  if (difficulty.text("form") == "words") {
    item.prompt =
        explanation(difficulty) + "\nEnd with one line \"A: \" and the answer, nothing after it.\n\n" + item.prompt;
  }
  item.trace = std::move(made.trace);
  if (!item.trace.empty() && item.trace.back() != '\n') item.trace += '\n';
  item.trace += "A: " + made.answer;
  item.answer = std::move(made.answer);
  item.difficulty = difficulty_json(described, difficulty);
  return item;
}

TaskVerdict Task::check(const TaskItem& item, std::string_view response) const {
  const std::string_view given = find_answer(response);
  if (given.empty() || given.size() > kAnswerLimit) return TaskVerdict::kNoAnswer;
  return judge(puzzle_of(item.prompt), trim_spaces(item.answer), given);
}

std::vector<std::unique_ptr<const Task>> make_all_tasks() {
  std::vector<std::unique_ptr<const Task>> tasks;
  tasks.push_back(make_iterate_map());
  tasks.push_back(make_long_multiplication());
  tasks.push_back(make_three_sat());
  tasks.push_back(make_latin_square());
  tasks.push_back(make_countdown());
  tasks.push_back(make_chain_sum());
  tasks.push_back(make_digit_completion());
  tasks.push_back(make_number_sorting());
  tasks.push_back(make_tower_of_hanoi());
  tasks.push_back(make_planted_fact());
  tasks.push_back(make_maze());
  return tasks;
}

const Task* find_task(const std::vector<std::unique_ptr<const Task>>& tasks, std::string_view name) {
  const auto found =
      std::find_if(tasks.begin(), tasks.end(), [&](const auto& task) { return task->info().method == name; });
  return found == tasks.end() ? nullptr : found->get();
}

Result<TaskSpec> parse_task_spec(const std::vector<std::unique_ptr<const Task>>& tasks, std::string_view text,
                                 const std::string& where) {
  std::vector<SpecInfo> known;
  for (const auto& task : tasks) known.push_back(task->info());
  TaskSpec out;
  out.text = text;
  TL_TRY(out.difficulty, parse_spec(text, known, where));
  out.task = find_task(tasks, out.difficulty.method);
  TL_CHECK(out.task != nullptr, out.difficulty.method);
  if (const Status status = out.task->validate(out.difficulty); !status.ok()) {
    return Error{status.error().what, where, status.error().remedy};
  }
  return out;
}

Result<Spec> parse_difficulty(const Task& task, const Json& difficulty, const std::string& where) {
  if (!difficulty.is_object()) return Error{"must be an object", where, "for example {\"steps\": 40}"};
  const std::vector<SpecInfo> known = {task.info()};
  Json with_method = difficulty;
  with_method["method"] = known[0].method;
  TL_TRY(Spec spec, parse_spec_json(with_method, known, where));
  if (const Status status = task.validate(spec); !status.ok()) {
    return Error{status.error().what, where, status.error().remedy};
  }
  return spec;
}

Json item_to_json(const TaskItem& item) {
  return Json{{"id", item.id},         {"task", item.task},   {"prompt", item.prompt},
              {"answer", item.answer}, {"trace", item.trace}, {"difficulty", item.difficulty}};
}

Result<TaskItem> item_from_json(const Json& line, const std::string& where) {
  if (!line.is_object()) return Error{"is not a JSON object", where, "give the line as gym sample wrote it"};
  TaskItem item;
  TL_TRY(item.id, text_field(line, "id", true, where));
  TL_TRY(item.task, text_field(line, "task", true, where));
  TL_TRY(item.prompt, text_field(line, "prompt", true, where));
  TL_TRY(item.answer, text_field(line, "answer", true, where));
  TL_TRY(item.trace, text_field(line, "trace", false, where));
  const auto difficulty = line.find("difficulty");
  item.difficulty = difficulty == line.end() ? Json::object() : *difficulty;
  return item;
}

}  // namespace throughline

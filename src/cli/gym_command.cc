#include "cli/gym_command.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>

#include "base/files.h"
#include "gym/lines.h"

namespace throughline {
namespace {

constexpr size_t kLineLimit = size_t{64} << 20;  // bytes: a response of a million tokens has room

struct SampleOptions {
  std::string task, difficulty, output = "-";
  uint64_t seed = 0, start = 0, count = 1;
  bool text = false;
};

struct CheckOptions {
  std::string input = "-", output = "-";
};

struct LengthOptions {
  std::string task, knob, values;
  uint64_t seed = 0, count = 200;
};

int fail(const Error& error) {
  std::fprintf(stderr, "throughline: %s\n", error.line().c_str());
  return 2;
}

Result<LineWriter> open_output(const std::string& path) {
  if (path != "-" && !is_stream(path)) TL_TRY_STATUS(write_atomically(path, ""));  // a new run, not an appended one
  return LineWriter::append(path);
}

// "iterate_map", "steps=40" -> "iterate_map:steps=40"; TASK itself may carry options.
std::string join_spec(const std::string& task, const std::string& options) {
  if (options.empty()) return task;
  return task + (task.find(':') == std::string::npos ? ":" : ",") + options;
}

Status sample(const SampleOptions& options) {
  const auto tasks = make_all_tasks();
  TL_TRY(const TaskSpec spec, parse_task_spec(tasks, join_spec(options.task, options.difficulty), "gym sample"));
  TL_TRY(LineWriter writer, open_output(options.output));
  for (uint64_t i = 0; i < options.count; ++i) {
    const TaskItem item = spec.task->generate(options.seed, options.start + i, spec.difficulty);
    TL_TRY_STATUS(
        writer.write(options.text ? item.prompt + "--- trace\n" + item.trace + "\n" : dump_json(item_to_json(item))));
  }
  return {};
}

enum class ReadLine { kLine, kTooLong, kEnd };

// std::getline with a limit: what lies beyond it is skipped, never stored.
ReadLine read_line(std::istream& in, std::string& line) {
  line.clear();
  bool too_long = false;
  for (int c = in.get(); c != std::istream::traits_type::eof(); c = in.get()) {
    if (c == '\n') return too_long ? ReadLine::kTooLong : ReadLine::kLine;
    if (line.size() < kLineLimit) {
      line += static_cast<char>(c);
    } else {
      too_long = true;
    }
  }
  if (too_long) return ReadLine::kTooLong;
  return line.empty() ? ReadLine::kEnd : ReadLine::kLine;
}

Status check(const CheckOptions& options, int* exit_status) {
  const auto tasks = make_all_tasks();
  std::ifstream file;
  if (options.input != "-") {
    if (is_directory(options.input))
      return Error{"is a directory, not a file", options.input, "give a file of JSON lines"};
    file.open(options.input, std::ios::binary);
    if (!file) return Error{"cannot open", options.input, "check the path"};
    std::error_code ignored;
    if (std::filesystem::equivalent(options.input, options.output, ignored)) {
      return Error{"is both the input and the output", options.input, "give another --output"};
    }
  }
  std::istream& in = options.input == "-" ? std::cin : file;
  TL_TRY(LineWriter writer, open_output(options.output));
  std::string line;
  size_t number = 0;
  for (ReadLine read = read_line(in, line); read != ReadLine::kEnd; read = read_line(in, line)) {
    ++number;
    CheckedLine checked;
    if (read == ReadLine::kTooLong) {
      checked = {dump_json(Json{{"id", nullptr},
                                {"line", number},
                                {"error", "line " + std::to_string(number) + ": is longer than 64 MiB"}}),
                 true};
    } else if (line.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    } else {
      checked = check_line(tasks, line, number);
    }
    if (checked.bad) *exit_status = 1;
    TL_TRY_STATUS(writer.write(checked.text));
  }
  return {};
}

Status lengths(const LengthOptions& options) {
  const auto tasks = make_all_tasks();
  TL_TRY(const TaskSpec spec, parse_task_spec(tasks, options.task, "gym lengths"));
  std::vector<TaskSpec> levels;
  if (options.knob.empty()) {
    for (const auto& level : spec.task->ladder()) {
      TL_TRY(TaskSpec parsed, parse_task_spec(tasks, level, "gym lengths"));
      levels.push_back(std::move(parsed));
    }
  }
  std::string rest = options.knob.empty() ? "" : options.values;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    TL_TRY(TaskSpec parsed,
           parse_task_spec(tasks, join_spec(options.task, options.knob + "=" + rest.substr(0, comma)), "gym lengths"));
    levels.push_back(std::move(parsed));
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  if (levels.empty())
    return Error{"no values for \"" + options.knob + "\"", "gym lengths: --values", "for example --values 4,8,16"};
  if (options.count == 0) return Error{"must be at least 1", "gym lengths: --count", ""};
  std::fputs(length_table(levels, options.seed, options.count).c_str(), stdout);
  return {};
}

}  // namespace

void add_gym_command(CLI::App& app, int* exit_status) {
  CLI::App* gym = app.add_subcommand("gym", "procedural tasks with exact verifiers");
  gym->require_subcommand(1);
  const auto report = [exit_status](const Status& status) {
    if (!status.ok()) *exit_status = fail(status.error());
  };

  auto sampled = std::make_shared<SampleOptions>();
  CLI::App* sample_command =
      gym->add_subcommand("sample", "write items as JSON lines: id, task, prompt, answer, trace, difficulty");
  sample_command->add_option("TASK", sampled->task, "a task, or a spec: iterate_map:steps=40,states=16")->required();
  sample_command->add_option("--difficulty", sampled->difficulty,
                             "options of the task: steps=40,states=16 (`gym list` shows them)");
  sample_command->add_option("--seed", sampled->seed, "an item is a function of seed, index and difficulty")
      ->capture_default_str();
  sample_command->add_option("--start", sampled->start, "index of the first item")->capture_default_str();
  sample_command->add_option("--count", sampled->count, "number of items")->capture_default_str();
  sample_command->add_option("--output", sampled->output, "file, or - for standard output")->capture_default_str();
  sample_command->add_flag("--text", sampled->text, "prompt and trace to read, instead of JSON lines");
  sample_command->callback([sampled, report] { report(sample(*sampled)); });

  auto checked = std::make_shared<CheckOptions>();
  CLI::App* check_command =
      gym->add_subcommand("check", "judge lines of gym sample that have a \"response\": id, verdict");
  check_command->add_option("--input", checked->input, "file, or - for standard input")->capture_default_str();
  check_command->add_option("--output", checked->output, "file, or - for standard output")->capture_default_str();
  check_command->callback([checked, report, exit_status] { report(check(*checked, exit_status)); });

  auto measured = std::make_shared<LengthOptions>();
  CLI::App* lengths_command =
      gym->add_subcommand("lengths", "a table of the trace lengths that difficulties cause, in characters");
  lengths_command
      ->add_option("TASK", measured->task, "a task or spec; without --knob its steps from easy to hard are measured")
      ->required();
  lengths_command->add_option("--knob", measured->knob, "an option of the task");
  lengths_command->add_option("--values", measured->values, "its values: 4,8,16")->needs("--knob");
  lengths_command->add_option("--seed", measured->seed, "seed of the items")->capture_default_str();
  lengths_command->add_option("--count", measured->count, "items a row")->capture_default_str();
  lengths_command->callback([measured, report] { report(lengths(*measured)); });

  CLI::App* list_command = gym->add_subcommand("list", "the tasks, their options and defaults");
  list_command->callback([] { std::fputs(describe_tasks(make_all_tasks()).c_str(), stdout); });
}

}  // namespace throughline

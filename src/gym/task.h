// Procedural tasks with exact verifiers: what training rewards and small-scale evaluation are made of.
//
// An item is a pure function of (seed, index, difficulty): no state, no clock. `check` is exact, bounded in time and
// thread-safe; it reads the item as its JSON line carries it (prompt, answer, difficulty), never the generator.
// Answer form, the same for every task: the last line that starts with "A:", after the last "</think>" if there is one.
// Only that line counts: what else the response says is neither rewarded nor punished.
// A prompt ends with one compact line, the puzzle; in the form `words` an explanation stands above it. Puzzles and
// traces use only kCompactAlphabet, so that a model whose tokens are characters can learn them. Lengths are in
// characters. Errors: difficulties that make no sense are Errors; hostile responses are verdicts. Not here: models,
// tokens, tensors.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/spec.h"

namespace throughline {

// 60 characters, newline included: a vocabulary of 64 leaves room for end-of-text, padding and two more.
inline constexpr std::string_view kCompactAlphabet = "\n 0123456789abcdefghijklmnopqrstuvwxyzA:;,.=+-*/()|>#?!<^_~'";
// A longer answer is not one: it is cut off unread (the longest right answer, hanoi with 12 disks, has 12,284).
constexpr size_t kAnswerLimit = 1 << 16;  // bytes

struct TaskItem {
  std::string id;  // "TASK-SEED-INDEX"
  std::string task;
  std::string prompt;
  std::string answer;  // canonical; some tasks accept others
  std::string trace;   // correct reasoning that ends in the answer line: itself a right response
  Json difficulty;     // object: every option of the task
};

// kNoAnswer: no answer line, or one that has not the asked form. kWrong: well-formed and not right.
enum class TaskVerdict { kNoAnswer, kWrong, kRight };
std::string_view verdict_name(TaskVerdict verdict);  // "no_answer", "wrong", "right"

// Reward: 1 for right, `format_share` for a well-formed wrong answer, else 0. The share is clamped to [0, 0.1]: more
// teaches the form instead of the task.
double task_reward(TaskVerdict verdict, double format_share = 0);

// The text of the answer line, trimmed; empty if there is none. Linear in the response.
std::string_view find_answer(std::string_view response);

class Task {
 public:
  virtual ~Task() = default;

  virtual SpecInfo info() const = 0;  // name, one line of help, options (common_options() included)
  // Difficulties from easy to hard, as spec strings; the mean trace length rises along them (a test and the docs use
  // it).
  virtual std::vector<std::string> ladder() const = 0;
  // What the single options' ranges cannot say ("marks <= states").
  virtual Status validate(const Spec&) const { return {}; }

  TaskItem generate(uint64_t seed, uint64_t index, const Spec& difficulty) const;  // REQUIRES: from parse_difficulty
  TaskVerdict check(const TaskItem& item, std::string_view response) const;

 protected:
  struct Draft {
    std::string puzzle;  // one line
    std::string answer;  // one line
    std::string trace;   // without the answer line
  };
  // `style` draws only how the trace is written; the puzzle does not depend on it.
  virtual Draft draft(const Spec& difficulty, CounterStream& draw, CounterStream& style) const = 0;
  virtual std::string explanation(const Spec& difficulty) const = 0;  // for the form `words`; ends without a newline
  // `given` is trimmed, not empty, at most kAnswerLimit bytes of anything; puzzle and answer may be hostile too.
  virtual TaskVerdict judge(std::string_view puzzle, std::string_view answer, std::string_view given) const = 0;
};

// form=words|compact, style=varied|plain: every task has them.
std::vector<OptionInfo> common_options();

// The table of all tasks, in the order of the docs.
std::vector<std::unique_ptr<const Task>> make_all_tasks();
// nullptr if there is none.
const Task* find_task(const std::vector<std::unique_ptr<const Task>>& tasks, std::string_view name);

// "iterate_map:steps=40,states=16" -> the task and its validated difficulty.
struct TaskSpec {
  std::string text;  // as given
  const Task* task = nullptr;
  Spec difficulty;
};
Result<TaskSpec> parse_task_spec(const std::vector<std::unique_ptr<const Task>>& tasks, std::string_view text,
                                 const std::string& where);
// The JSON form: the object an item carries.
Result<Spec> parse_difficulty(const Task& task, const Json& difficulty, const std::string& where);

Json item_to_json(const TaskItem& item);
// REQUIRES nothing: a line of a file. `difficulty` may be missing (the defaults), `trace` too; other keys are ignored.
Result<TaskItem> item_from_json(const Json& line, const std::string& where);

}  // namespace throughline

#include "gym/tasks/countdown.h"

#include "gym/expression.h"
#include "gym/task_text.h"

namespace throughline {
namespace {

constexpr int64_t kStepLimit = 9999;  // of intermediate values in traces: what a small model can be asked to multiply

struct Term {
  int64_t value = 0;
  std::string text;
  bool composite = false;
  std::string in_operation() const { return composite ? "(" + text + ")" : text; }
};

struct Step {
  size_t left = 0, right = 0;
  char op = '+';
};

// Combines two terms; false where the result is not a whole number from 1 to kStepLimit.
bool apply(std::vector<Term>& terms, const Step& step, std::string& line) {
  const Term a = terms[step.left], b = terms[step.right];
  int64_t value = 0;
  if (step.op == '+') value = a.value + b.value;
  if (step.op == '-') value = a.value - b.value;
  if (step.op == '*') value = a.value * b.value;
  if (step.op == '/') value = a.value % b.value == 0 ? a.value / b.value : 0;
  if (value < 1 || value > kStepLimit) return false;
  line += (line.empty() ? "" : ",") + std::to_string(a.value) + step.op + std::to_string(b.value) + "=" +
          std::to_string(value);
  Term joined{value, a.in_operation() + step.op + b.in_operation(), true};
  terms.erase(terms.begin() + static_cast<std::ptrdiff_t>(std::max(step.left, step.right)));
  terms.erase(terms.begin() + static_cast<std::ptrdiff_t>(std::min(step.left, step.right)));
  terms.push_back(std::move(joined));
  return true;
}

Step draw_step(CounterStream& draw, size_t terms) {
  Step step;
  step.left = static_cast<size_t>(draw.integer(0, static_cast<int64_t>(terms) - 1));
  step.right = static_cast<size_t>(draw.integer(0, static_cast<int64_t>(terms) - 2));
  if (step.right >= step.left) ++step.right;
  step.op = "+-*/"[draw.integer(0, 3)];
  return step;
}

// A path to one number, beginning as `steps` says and drawn from there on.
struct Path {
  std::vector<Step> steps;
  Term result;
  std::string line;
};

Path draw_path(CounterStream& draw, const std::vector<int64_t>& numbers, std::vector<Step> steps) {
  std::vector<Term> terms;
  for (int64_t number : numbers) terms.push_back({number, std::to_string(number), false});
  Path path;
  for (const Step& step : steps) TL_CHECK(apply(terms, step, path.line), "a repeated step fails");
  path.steps = std::move(steps);
  while (terms.size() >
         1) {  // "+" always works or its result is out of range for good: then the drawn path starts anew
    Step step = draw_step(draw, terms.size());
    for (int tries = 0; tries < 50 && !apply(terms, step, path.line); ++tries) step = draw_step(draw, terms.size());
    if (path.steps.size() + terms.size() == numbers.size()) return draw_path(draw, numbers, {});
    path.steps.push_back(step);
  }
  path.result = terms[0];
  return path;
}

struct Puzzle {
  std::vector<int64_t> numbers;
  int64_t target = 0;
};

std::optional<Puzzle> read_puzzle(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || text.size() > 1000) return std::nullopt;
  Puzzle out;
  for (std::string_view part : split_on(text.substr(0, equals), ',')) {
    const auto number = parse_integer(part);
    if (!number || *number < 0) return std::nullopt;
    out.numbers.push_back(*number);
  }
  const auto target = parse_integer(text.substr(equals + 1));
  if (!target) return std::nullopt;
  out.target = *target;
  return out;
}

class Countdown final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{
        "countdown",
        "reach a target from given numbers by + - * /",
        {{.name = "numbers", .default_text = "3", .help = "given numbers", .minimum = 2, .maximum = 8},
         {.name = "largest", .default_text = "50", .help = "largest given number", .minimum = 2, .maximum = 999},
         {.name = "target", .default_text = "999", .help = "largest target", .minimum = 10, .maximum = kStepLimit},
         {.name = "tries",
          .default_text = "4",
          .help = "mean number of failed attempts in the trace",
          .minimum = 0,
          .maximum = 1000}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"countdown:numbers=3,tries=2", "countdown:numbers=3,tries=8", "countdown:numbers=4,tries=16",
            "countdown:numbers=5,tries=32", "countdown:numbers=6,tries=64"};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    std::vector<int64_t> numbers;
    Path solution;
    do {
      numbers.clear();
      for (int64_t i = 0; i < spec.integer("numbers"); ++i) numbers.push_back(draw.integer(1, spec.integer("largest")));
      solution = draw_path(draw, numbers, {});
    } while (solution.result.value > spec.integer("target"));
    Draft out;
    for (size_t i = 0; i < numbers.size(); ++i) out.puzzle += (i == 0 ? "" : ",") + std::to_string(numbers[i]);
    out.puzzle += "=" + std::to_string(solution.result.value);
    out.answer = solution.result.text;

    const std::string end = styled(spec, style, {"\n", "; "});
    const std::string fails = styled(spec, style, {" x", " no", " not it"});
    out.trace = styled(spec, style, {"", "try ", "search: "});
    const int64_t tries = style.integer(0, 2 * spec.integer("tries"));
    std::vector<Step> shared;
    for (int64_t i = 0; i < tries; ++i) {
      const Path path = draw_path(style, numbers, shared);
      shared.clear();
      if (path.result.value == solution.result.value) continue;  // a lucky one would have ended the search
      out.trace += path.line + fails + end;
      if (chance(style, 0.5)) shared.assign(path.steps.begin(), path.steps.begin() + 1);
    }
    out.trace += solution.line + styled(spec, style, {" ok", " yes", ""});
    return out;
  }

  std::string explanation(const Spec&) const override {
    return "\"25,3,7=154\" means: reach 154 with the numbers 25, 3 and 7, each used exactly once, by +, -, *, / and "
           "parentheses. "
           "Answer with the expression alone (here (25-3)*7).";
  }

  TaskVerdict judge(std::string_view text, std::string_view, std::string_view given) const override {
    const auto puzzle = read_puzzle(text);
    if (!puzzle) return TaskVerdict::kNoAnswer;
    return check_arithmetic(given, puzzle->numbers, puzzle->target);
  }
};

}  // namespace

std::unique_ptr<const Task> make_countdown() { return std::make_unique<Countdown>(); }

}  // namespace throughline

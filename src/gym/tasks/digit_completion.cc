#include "gym/tasks/digit_completion.h"

#include <algorithm>

#include "gym/task_text.h"

namespace throughline {
namespace {

class DigitCompletion final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{
        "digit_completion",
        "continue an arithmetic progression modulo m (after verl's e2e digit task)",
        {{.name = "terms", .default_text = "5", .help = "numbers to add", .minimum = 1, .maximum = 1000},
         {.name = "modulus", .default_text = "20", .help = "largest modulus drawn", .minimum = 2, .maximum = 10000}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"digit_completion:terms=2", "digit_completion:terms=5", "digit_completion:terms=10",
            "digit_completion:terms=40"};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    const int64_t modulus = draw.integer(std::max<int64_t>(2, spec.integer("modulus") / 2), spec.integer("modulus"));
    const int64_t first = draw.integer(0, modulus - 1), second = draw.integer(0, modulus - 1);
    const int64_t step = (second - first + modulus) % modulus;
    const std::string separator = styled(spec, style, {" ", "\n", "; "});
    Draft out;
    out.puzzle =
        std::to_string(first) + "," + std::to_string(second) + ":" + std::to_string(modulus) + "," + spec.text("terms");
    out.trace = styled(spec, style, {"d", "step ", "d="}) + std::to_string(step);
    int64_t last = second;
    for (int64_t i = 0; i < spec.integer("terms"); ++i) {
      out.trace += separator + std::to_string(last) + "+" + std::to_string(step) + "=" + std::to_string(last + step);
      if (last + step >= modulus)
        out.trace += "-" + std::to_string(modulus) + "=" + std::to_string(last + step - modulus);
      last = (last + step) % modulus;
      out.answer += (i == 0 ? "" : ",") + std::to_string(last);
    }
    return out;
  }

  std::string explanation(const Spec&) const override {
    return "\"1,3:20,5\" means: a sequence begins with 1, 3 and goes on in equal steps modulo 20; give the next 5 "
           "numbers, "
           "separated by commas (here 5,7,9,11,13).";
  }

  TaskVerdict judge(std::string_view, std::string_view answer, std::string_view given) const override {
    return judge_exact(answer, given, "0123456789,");
  }
};

}  // namespace

std::unique_ptr<const Task> make_digit_completion() { return std::make_unique<DigitCompletion>(); }

}  // namespace throughline

#include "gym/tasks/number_sorting.h"

#include <algorithm>

#include "gym/task_text.h"

namespace throughline {
namespace {

std::string join_numbers(const std::vector<int64_t>& numbers) {
  std::string out;
  for (size_t i = 0; i < numbers.size(); ++i) out += (i == 0 ? "" : ",") + std::to_string(numbers[i]);
  return out;
}

class NumberSorting final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{
        "number_sorting",
        "sort numbers by repeated selection; looks back at the prompt all the time",
        {{.name = "numbers", .default_text = "6", .help = "numbers to sort", .minimum = 2, .maximum = 200},
         {.name = "digits", .default_text = "2", .help = "most digits of a number", .minimum = 1, .maximum = 9},
         {.name = "order",
          .type = OptionType::kChoice,
          .default_text = "both",
          .help = "ascending, descending, or drawn per item",
          .choices = {"both", "up", "down"}}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"number_sorting:numbers=3", "number_sorting:numbers=6", "number_sorting:numbers=12",
            "number_sorting:numbers=24"};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    int64_t limit = 1;
    for (int64_t i = 0; i < spec.integer("digits"); ++i) limit *= 10;
    const bool drawn_up = chance(draw, 0.5);
    const bool up = spec.text("order") == "both" ? drawn_up : spec.text("order") == "up";
    std::vector<int64_t> rest, sorted;
    for (int64_t i = 0; i < spec.integer("numbers"); ++i) rest.push_back(draw.integer(0, limit - 1));
    const std::string bar = styled(spec, style, {"|", " | ", " < "});
    const std::string end = styled(spec, style, {"\n", "; "});
    Draft out;
    out.puzzle = (up ? "up:" : "down:") + join_numbers(rest);
    out.trace = bar + join_numbers(rest);
    while (!rest.empty()) {
      const auto next = up ? std::min_element(rest.begin(), rest.end()) : std::max_element(rest.begin(), rest.end());
      sorted.push_back(*next);
      rest.erase(next);
      out.trace += end + join_numbers(sorted) + bar + join_numbers(rest);
    }
    out.answer = join_numbers(sorted);
    return out;
  }

  std::string explanation(const Spec&) const override {
    return "Sort the numbers below, \"up\" from the least to the greatest, \"down\" from the greatest to the least; "
           "keep "
           "repeated numbers. Answer with the numbers separated by commas.";
  }

  TaskVerdict judge(std::string_view, std::string_view answer, std::string_view given) const override {
    return judge_exact(answer, given, "0123456789,");
  }
};

}  // namespace

std::unique_ptr<const Task> make_number_sorting() { return std::make_unique<NumberSorting>(); }

}  // namespace throughline

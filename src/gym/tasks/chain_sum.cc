#include "gym/tasks/chain_sum.h"

#include "gym/task_text.h"

namespace throughline {
namespace {

class ChainSum final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{
        "chain_sum",
        "a sum of many terms with written partial sums",
        {{.name = "terms", .default_text = "8", .help = "terms of the sum", .minimum = 2, .maximum = 5000},
         {.name = "digits", .default_text = "2", .help = "most digits of a term", .minimum = 1, .maximum = 9}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"chain_sum:terms=4", "chain_sum:terms=8", "chain_sum:terms=32", "chain_sum:terms=128",
            "chain_sum:terms=500"};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    int64_t limit = 1;
    for (int64_t i = 0; i < spec.integer("digits"); ++i) limit *= 10;
    const std::string separator = styled(spec, style, {" ", "\n", "; "});
    const std::string colon = styled(spec, style, {":", ")"});
    Draft out;
    int64_t sum = 0;
    for (int64_t i = 1; i <= spec.integer("terms"); ++i) {
      const int64_t term = draw.integer(1, limit - 1);
      const bool minus = i > 1 && chance(draw, 0.5);
      sum += minus ? -term : term;
      const std::string signed_term = (i == 1 ? "" : minus ? "-" : "+") + std::to_string(term);
      out.puzzle += signed_term;
      out.trace += (i == 1 ? "" : separator) + std::to_string(i) + colon + signed_term;
      if (i > 1) out.trace += "=" + std::to_string(sum);
    }
    out.answer = std::to_string(sum);
    return out;
  }

  std::string explanation(const Spec&) const override { return "Work out the sum below. Answer with its value."; }

  TaskVerdict judge(std::string_view, std::string_view answer, std::string_view given) const override {
    const auto seen = canonical_integer(given);
    if (!seen) return TaskVerdict::kNoAnswer;
    return *seen == canonical_integer(answer) ? TaskVerdict::kRight : TaskVerdict::kWrong;
  }
};

}  // namespace

std::unique_ptr<const Task> make_chain_sum() { return std::make_unique<ChainSum>(); }

}  // namespace throughline

#include "think/environments/budget_forcing.h"

namespace throughline {

SpecInfo BudgetForcing::info() {
  return {
      "force",
      "budget forcing: an early close is replaced by a text (arXiv 2501.19393)",
      {{.name = "min_thinking", .help = "thinking tokens before a close is accepted", .required = true, .minimum = 0},
       {.name = "max_forces", .default_text = "4", .help = "replacements at most", .minimum = 0},
       {.name = "text", .type = OptionType::kText, .default_text = "Wait", .help = "what replaces the close"}}};
}

Result<std::unique_ptr<const Environment>> BudgetForcing::make(const Spec& spec, const std::string& where) {
  if (spec.text("text").empty()) return Error{"text is empty", where, "write for example text=Wait"};
  return std::unique_ptr<const Environment>(new BudgetForcing(spec));
}

}  // namespace throughline

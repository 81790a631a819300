// Options and checks that several policies share.
#pragma once

#include <memory>
#include <string>

#include "cache/policy.h"

namespace throughline {

inline OptionInfo protect_option() {
  return {.name = "protect",
          .type = OptionType::kChoice,
          .default_text = "prompt",
          .help = "tokens that never go",
          .choices = {"prompt", "first:N", "none"}};
}

inline OptionInfo budget_option() {
  return {.name = "budget",
          .help = "cached tokens per layer and head after an event, protected and window included",
          .required = true,
          .minimum = 1};
}

// A ring of as many queries is kept for every layer, which the memory plan does not count: a wide one is refused.
inline OptionInfo voters_option(const std::string& default_text, const std::string& default_note = {}) {
  return {.name = "window",
          .default_text = default_text,
          .help = "queries that vote, and newest tokens always kept; up to 1024",
          .minimum = 1,
          .maximum = 1024,
          .default_note = default_note};
}

inline OptionInfo min_budget_option() {
  return {
      .name = "min_budget", .help = "under memory pressure the budget may fall to this, for the chunk", .minimum = 1};
}

inline Status check_odd(const Spec& spec, const std::string& name, int64_t value, const std::string& where) {
  if (value % 2 == 1) return {};
  return Error{std::to_string(value) + " is even", where + ": " + name,
               spec.method + " pools around a token: use an odd width, 1 for none"};
}

}  // namespace throughline

// The gold answer of a line of JSON Lines as the graders read it: a text as it is, a number in plain decimals.
//
// Plain, since in an answer the e of 1e-07 is Euler's number. Where JSON would print an exponent the digits are the
// line's own, not a double's: 30 digits stay 30. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace throughline::answer {

// `gold` is the member "gold" of the object `line`, a JSON text that was parsed. Nullopt: neither text nor number.
std::optional<std::string> gold_text(const Json& gold, std::string_view line);

// "-1.5e-7" -> "-0.00000015". REQUIRES: a JSON number.
std::string plain_decimals(std::string_view number);

}  // namespace throughline::answer

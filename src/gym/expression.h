// Arithmetic on given numbers, for countdown and the game of 24: a bounded evaluator over exact rationals.
//
// Grammar: expression = term {("+" | "-") term}; term = factor {("*" | "/") factor}; factor = number | "(" expression
// ")". Also read: the signs U+00D7, U+00F7, U+2212 and spaces. Not read: unary signs, powers, "//", "%", decimals,
// implied products. At most 64 numbers of at most 9 digits, 32 open parentheses, 1,024 bytes; an intermediate value
// beyond 128 bits, a division by zero or anything else fails the whole expression. Linear time; no exceptions;
// thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "gym/task.h"

namespace throughline {

struct Rational {
  __int128 numerator = 0;
  __int128 denominator = 1;  // > 0; always reduced
  bool is(int64_t value) const { return denominator == 1 && numerator == value; }
};

struct Evaluated {
  // Not set: read rightly, but there is no value (division by zero, overflow).
  std::optional<Rational> value;
  std::vector<int64_t> numbers;  // as they stand in the text
};

// nullopt: not an expression of the grammar.
std::optional<Evaluated> evaluate_expression(std::string_view text);

// Right if `text` uses exactly `numbers` (each as often as given, in any order) and its value is `target`; no answer if
// it is no expression of the grammar.
TaskVerdict check_arithmetic(std::string_view text, const std::vector<int64_t>& numbers, int64_t target);

}  // namespace throughline

// Small text and drawing helpers shared by the tasks. Strict: nothing is skipped but what a function says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "gym/task.h"

namespace throughline {

std::string_view trim_spaces(std::string_view text);  // ASCII white space at both ends
std::string remove_chars(std::string_view text, std::string_view unwanted);
std::vector<std::string_view> split_on(std::string_view text, char separator);  // "a,,b" -> "a", "", "b"
// An optional '-', then 1 to 18 digits, nothing else.
std::optional<int64_t> parse_integer(std::string_view text);
// "-007" -> "-7", "-0" -> "0"; nullopt unless an optional '-' and digits only. Any length.
std::optional<std::string> canonical_integer(std::string_view text);

bool chance(CounterStream& draw, double probability);
template <typename T>
const T& pick(CounterStream& draw, const std::vector<T>& choices) {
  return choices[static_cast<size_t>(draw.integer(0, static_cast<int64_t>(choices.size()) - 1))];
}
template <typename T>
void shuffle(CounterStream& draw, std::vector<T>& items) {
  for (size_t i = items.size(); i > 1; --i) {
    std::swap(items[i - 1], items[static_cast<size_t>(draw.integer(0, static_cast<int64_t>(i) - 1))]);
  }
}

// One of the choices; always the first in style=plain.
std::string styled(const Spec& difficulty, CounterStream& style, const std::vector<std::string>& choices);

// Right if equal to `answer`, both without spaces; no answer if `given` holds a character outside `allowed`.
TaskVerdict judge_exact(std::string_view answer, std::string_view given, std::string_view allowed);

}  // namespace throughline

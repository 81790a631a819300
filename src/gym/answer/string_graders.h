// The graders of published evaluations that work on strings first: emulations to compare with their scores.
//
// Written from the graders' behaviour (sources in docs/verifier.md); where they call a computer algebra system, the
// project's own comparer stands in, within its step budget, so nothing can hang. Arguments are extracted answers.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "gym/answer/ast.h"

namespace throughline::answer {

constexpr size_t kMaxAnswerBytes = 2000;  // longer answers are undecided

// Hendrycks' MATH: normalised strings are equal.
std::string hendrycks_normalize(std::string_view answer);
// OpenAI PRM800K: its own normalisation, tuples, strict fractions and integers, then symbolic equality.
bool prm800k_equal(std::string_view gold, std::string_view answer, Steps* steps, std::string* normalized);
// Qwen2.5-Math (used by RPC): units and percent dropped, relative tolerance 1e-4 also for 100 times and 1/100.
std::string qwen_normalize(std::string_view answer, Steps* steps);
bool qwen_equal(std::string_view gold, std::string_view answer, Steps* steps);
std::string qwen_extract(std::string_view response, Steps* steps);
// DAPO: substitution list, then string equality; the last "Answer: ..." within the last 300 characters.
std::string dapo_normalize(std::string_view answer);
std::optional<std::string> dapo_extract(std::string_view response);
// GSM8K: the last "A: <number>" or "#### <number>", commas removed.
std::optional<std::string> gsm8k_extract(std::string_view response);

// The last \boxed{...} or \fbox{...} with braces counted as the Hendrycks code counts them (\{ and \} too).
std::optional<std::string> last_boxed_plain(std::string_view response, bool fbox);

}  // namespace throughline::answer

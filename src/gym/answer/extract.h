// Finds the answer in a response: boxes, "answer is" forms, mathematics between dollars, the last number or choice.
//
// All functions are linear in the length of the text. Positions and contents are views into the argument.
// What each profile does with them is in docs/verifier.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace throughline::answer {

struct Box {
  size_t begin = 0;  // of the backslash
  size_t end = 0;    // behind the closing brace
  std::string_view content;
};

// All complete \boxed{...} and \fbox{...}, in order; a box within a box counts as the outer one.
std::vector<Box> find_boxes(std::string_view text);

enum class ThinkRegion {
  kAfterLast,   // behind the last </think>; an open <think> without its end has no answer
  kAfterFirst,  // behind the first </think> (Delethink's trainer)
  kRequired,    // as kAfterFirst, and no </think> at all is no answer
  kWhole,       // the whole text, whatever tags it holds
};

// nullopt: the text has no answer region.
std::optional<std::string_view> answer_region(std::string_view text, ThinkRegion region);

struct BoxOptions {
  size_t list_distance = 70;   // boxes at most so far apart may be one list
  bool later_replaces = true;  // "... \boxed{17}, no, so \boxed{204}": the later box alone counts
  bool fbox = true;            // \fbox{...} is a box, too
};

// The last box, with those before it that form a list with it; joined by commas. nullopt: no complete box.
std::optional<std::string> boxed_answer(std::string_view region, const BoxOptions& options);

// Content of the mathematics ($..$, $$..$$, \(..\), \[..\]) nearest to the end, with its neighbours joined by "and" or
// commas. `digits_only`: skip mathematics without any digit ("where $n$ is an integer").
std::optional<std::string> last_mathematics(std::string_view region, bool digits_only, size_t* position);

// Behind the last "answer is", "Answer:", "####", "A:"; empty when there is none.
std::optional<std::string> anchored_answer(std::string_view region);

// The last number (thousands separators removed, decimal comma turned, percent sign kept) or choice letter.
std::optional<std::string> last_number_or_choice(std::string_view region, size_t* position);

// A gold answer as data sets write it: bare, between dollars, or a whole solution with a box.
std::string gold_answer(std::string_view gold);

// The whole text as one short answer without prose around it, or nullopt.
std::optional<std::string> whole_answer(std::string_view region);

}  // namespace throughline::answer

// The single checkers behind instructions.h: the 20 exact ones and the table of all. One function an instruction, named
// as published; `text` is the response (or a loose variant of it), never blank.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

// The options of one instruction, read and checked once a response.
struct InstructionOptions {
  int64_t count = 0;       // num_words, frequency, num_bullets, ...
  int64_t paragraph = 0;   // nth_paragraph
  bool less_than = false;  // relation: "less than", else "at least"
  std::u32string text;     // keyword, end_phrase, section_spliter, ...
  std::vector<std::u32string> words;
};

struct InstructionChecker {
  const char* id;
  // Names of the options it needs; "" where it needs none.
  const char* count_option;
  const char* relation_option;
  const char* text_option;
  const char* words_option;
  bool approximate;
  bool (*check)(std::u32string_view text, const InstructionOptions& options);
};

std::span<const InstructionChecker> instruction_checkers();

// The relation's comparison.
bool compare_count(int64_t seen, const InstructionOptions& options);

// json.loads(text) would succeed: RFC 8259 and NaN, Infinity, -Infinity; no duplicate check; integers up to 4,300
// digits; nesting up to 990 (Python stops with an error beyond that).
bool is_python_json(std::u32string_view text);

}  // namespace throughline

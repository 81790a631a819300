// Recursive-descent parser from tokens to a Tree. The grammar is in docs/verifier.md.
//
// Bounded: nesting of at most 200, text of at most 2,000 bytes, and one step per token and node. A text that is not
// a whole answer in the grammar has no tree (root == kNoNode); nothing is guessed or skipped.
#pragma once

#include <string_view>

#include "gym/answer/ast.h"
#include "gym/answer/lexer.h"

namespace throughline::answer {

struct ParseOptions {
  LexOptions lex;
  int max_depth = 200;               // brackets, groups, powers and signs within each other
  bool drop_base_subscript = false;  // read 52_8 as 52 (Math-Verify does)
  bool mixed_numbers = true;         // 1\frac{4}{5} is 9/5, not 4/5
  bool units = true;                 // words behind a number are its unit
};

Tree parse_answer(std::string_view text, const ParseOptions& options, Steps* steps);

// True for words that name a unit ("cm", "miles"); singular and plural are one.
bool is_unit_word(std::string_view word);
// One spelling for each unit: "centimeters" -> "cm".
std::string canonical_unit(std::string_view text);

}  // namespace throughline::answer

// What the string graders share (string_graders.h); not for others.
#pragma once

#include <string>
#include <string_view>

#include "gym/answer/ast.h"

namespace throughline::answer::graders {

// \frac12 -> \frac{1}{2}, \frac1{72} -> \frac{1}{72}; *error where the original raises one.
std::string fix_fractions(std::string_view text, bool* error);
// "3/4" of two integers (or roots, if allowed) -> \frac{3}{4}
std::string fix_slash(const std::string& text, bool allow_root);
// "x=5" -> "5" when the left side has at most two characters.
std::string drop_short_left_side(const std::string& text);
// The content of a \text{...} that is the whole answer.
bool whole_text(std::string_view s, std::string* inner);
// The normalisation of the MATH release as PRM800K calls it ("mathd").
std::string mathd_normalize(std::string_view answer);
// What the original asks its algebra system. `latex`: the text is read as LaTeX alone (sqrt and pi are letters).
bool equal_as_expressions(const std::string& a, const std::string& b, bool latex, Steps* steps);
// Puts `replacement` in the place of each `open`, and drops the next `close` and, unless it is kept, what is between.
std::string erase_between(std::string_view s, std::string_view open, char close, std::string_view replacement,
                          bool keep_inner);

}  // namespace throughline::answer::graders

// Text in styles, wrapped to a width: what full-screen views are made of. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace throughline {

enum class TextStyle : uint8_t { kPlain, kStrong, kFaint, kGood, kBad, kDoubt, kHead, kTail, kForced, kSelected };

struct StyledSpan {
  TextStyle style = TextStyle::kPlain;
  std::string text;  // harmless(): no control characters
};
using StyledLine = std::vector<StyledSpan>;

// With ANSI styles, or bare.
std::string to_ansi(const StyledLine& line, bool color);
std::string plain_text(const StyledLine& line);
int width_of(const StyledLine& line);
// At most `columns` wide; `fill`: exactly, with blanks in the last style.
StyledLine fitted(const StyledLine& line, int columns, bool fill = false);

// Wraps the spans' text to lines of at most `columns`, at blanks where there are some near the end; line breaks in the
// text are kept. Each line starts with `gutter` (its width counts). Whatever the text holds is made harmless first. At
// most `most_lines` lines.
std::vector<StyledLine> wrap_styled(const std::vector<StyledSpan>& text, int columns, const StyledSpan& gutter = {},
                                    size_t most_lines = SIZE_MAX);

}  // namespace throughline

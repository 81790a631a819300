#include "cli/styled_text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cli/terminal.h"

namespace throughline {
namespace {

std::vector<std::string> plain(const std::vector<StyledLine>& lines) {
  std::vector<std::string> out;
  for (const StyledLine& line : lines) out.push_back(plain_text(line));
  return out;
}

using Lines = std::vector<std::string>;

TEST(StyledText, WrapsAcrossStyles) {
  const std::vector<StyledSpan> text = {
      {TextStyle::kPlain, "one t"}, {TextStyle::kForced, "wo th"}, {TextStyle::kPlain, "ree"}};
  const auto lines = wrap_styled(text, 10, {TextStyle::kFaint, "| "});
  EXPECT_EQ(plain(lines), (Lines{"| one two ", "| three"}));
  EXPECT_EQ(to_ansi(lines[1], true), "\033[2m| \033[0m\033[1;35mth\033[0mree");
}

TEST(StyledText, KeepsLineBreaksAndBreaksLongWords) {
  EXPECT_EQ(plain(wrap_styled({{TextStyle::kPlain, "a\n\nbcdefgh\n"}}, 4)), (Lines{"a", "", "bcde", "fgh"}));
  EXPECT_EQ(plain(wrap_styled({{TextStyle::kPlain, "a bcdefgh"}}, 6)), (Lines{"a bcde", "fgh"}));
  EXPECT_EQ(plain(wrap_styled({}, 6, {TextStyle::kPlain, "x"})), (Lines{"x"}));
}

TEST(StyledText, FitsAndFills) {
  const StyledLine line = {{TextStyle::kPlain, "ab"}, {TextStyle::kStrong, "cd"}};
  EXPECT_EQ(plain_text(fitted(line, 3)), "abc");
  EXPECT_EQ(to_ansi(fitted(line, 6, true), true), "ab\033[1mcd  \033[0m");
}

RC_GTEST_PROP(StyledText, NothingIsLostAndNoLineIsTooWide, (const std::string& raw)) {
  const int columns = *rc::gen::inRange(4, 40);
  const auto lines =
      wrap_styled({{TextStyle::kPlain, raw}, {TextStyle::kTail, raw}}, columns, {TextStyle::kFaint, ": "});
  std::string joined, wanted;
  for (const StyledLine& line : lines) {
    RC_ASSERT(width_of(line) <= columns);
    joined += plain_text(line).substr(2);
  }
  for (const char c : harmless(raw) + harmless(raw)) {
    if (c != '\n') wanted += c;
  }
  RC_ASSERT(joined == wanted);
}

}  // namespace
}  // namespace throughline

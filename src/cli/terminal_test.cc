#include "cli/terminal.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cli/demo_view.h"

namespace throughline {
namespace {

TEST(Terminal, WidthsOfCharacters) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("été"), 3);
  EXPECT_EQ(display_width("e\u0301"), 1);  // a combining mark takes no column
  EXPECT_EQ(display_width("漢字"), 4);
  EXPECT_EQ(display_width("\xff"), 0);
}

TEST(Terminal, CutsAtWholeCharacters) {
  EXPECT_EQ(cut_to("héllo", 2), "hé");
  EXPECT_EQ(cut_to("漢字", 3), "漢");
  EXPECT_EQ(cut_to("a\tb\nc", 5), "abc");
}

TEST(Terminal, TextOfUnknownOriginSteersNothing) {
  EXPECT_EQ(harmless("a\033[2Jb\r\n\tc\u202Ed\u009Be\xff"), "a·[2Jb·\n    c·d·e\uFFFD");
  EXPECT_EQ(harmless("漢é</think>"), "漢é</think>");
}

TEST(Terminal, WrapsAtWords) {
  EXPECT_EQ(wrap("one two three", 8), (std::vector<std::string>{"one two ", "three"}));
  EXPECT_EQ(wrap("a\n\nb", 8), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(wrap("abcdefgh", 3), (std::vector<std::string>{"abc", "def", "gh"}));
}

TEST(Terminal, TheCursorWaitsAtTheRightEdge) {
  EXPECT_EQ(column_after("abc", 0, 4), 3);
  EXPECT_EQ(column_after("abcd", 0, 4), 4);
  EXPECT_EQ(column_after("abcde", 0, 4), 1);
  EXPECT_EQ(column_after("字", 3, 4), 2);  // a wide character does not fit into one column
  EXPECT_EQ(column_after("a\n", 2, 4), 0);
}

RC_GTEST_PROP(Terminal, NoWrappedLineIsWiderThanAsked, (const std::string& text)) {
  const int columns = *rc::gen::inRange(2, 40);
  for (const auto& line : wrap(text, columns)) RC_ASSERT(display_width(line) <= columns);
}

TEST(DemoView, EveryLineFitsWhateverTheTerminal) {
  DemoScene scene{.headline = std::string(300, 'h'), .legend = "l", .kv_room = 192, .positions = 512};
  for (int i = 0; i < 3; ++i) {
    scene.columns.push_back({.title = "a title", .spec = "--kv x:a=1,b=2", .kv_tokens = 100 * i});
    for (int word = 0; word < 400; ++word) scene.columns.back().text += "word" + std::to_string(word * i) + " ";
  }
  scene.columns[1].done = true;
  scene.columns[1].ended = "all used";
  for (int columns = 40; columns < 200; columns += 7) {
    for (int rows = 12; rows < 60; rows += 9) {
      const std::string frame = draw_columns(scene, columns, rows, /*color=*/false);
      int lines = 0;
      for (size_t from = 0; from <= frame.size(); ++lines) {
        const size_t end = std::min(frame.find('\n', from), frame.size());
        EXPECT_LE(display_width(frame.substr(from, end - from)), columns);
        from = end + 1;
      }
      EXPECT_EQ(lines, rows);
      EXPECT_NE(frame.find("■ all used"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace throughline

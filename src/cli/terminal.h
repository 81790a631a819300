// What commands draw on a terminal: sizes, the width of text, and a status bar under scrolling text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace throughline {

struct TerminalSize {
  int columns = 80, rows = 24;
};
TerminalSize terminal_size(int fd);  // asked anew each time: windows are resized

bool wants_color(int fd);  // a terminal that is not dumb, and NO_COLOR is not set
bool speaks_utf8();        // as the locale's variables say

// Columns that a code point takes: 0 for marks, 2 for wide East Asian ones, else 1.
int display_width(char32_t code);
int display_width(std::string_view text);
// Where the cursor stands (columns left of it) after `text`, from `column`; equal to `columns`: it waits at the right
// edge, and the next character goes to the next line.
int column_after(std::string_view text, int column, int columns);
// One line of at most `columns` columns: longer text is cut, control characters are left out.
std::string cut_to(std::string_view text, int columns);
// For showing text of unknown origin: line breaks stay, tabs become blanks, and what could steer a terminal or turn the
// text around (controls, escapes, bidirectional marks, invalid bytes) becomes a visible mark.
std::string harmless(std::string_view text);
// Words wrapped to lines of at most `columns` columns; line breaks in the text are kept.
std::vector<std::string> wrap(std::string_view text, int columns);

// The terminal's last row, kept free of scrolling text: the region above scrolls as usual. Written to standard error.
class StatusBar {
 public:
  StatusBar() = default;
  ~StatusBar() { close(); }
  StatusBar(const StatusBar&) = delete;
  StatusBar& operator=(const StatusBar&) = delete;
  // Opens it, and follows the window's size. Not while the cursor waits at the right edge: saving it would forget that.
  void show(const std::string& text);
  void close();  // gives the row back

 private:
  int rows_ = 0;  // 0: not open
};

}  // namespace throughline

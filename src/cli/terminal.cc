#include "cli/terminal.h"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "cli/interrupt.h"

namespace throughline {
namespace {

struct CodePoint {
  char32_t code = 0;
  size_t bytes = 1;
};

CodePoint code_point_at(std::string_view text, size_t at) {
  utf8proc_int32_t code = 0;
  const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
                                  static_cast<utf8proc_ssize_t>(text.size() - at), &code);
  return n > 0 ? CodePoint{static_cast<char32_t>(code), static_cast<size_t>(n)} : CodePoint{0, 1};  // 0: not shown
}

void put(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

TerminalSize terminal_size(int fd) {
  TerminalSize size;
  winsize window{};
  if (::ioctl(fd, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 && window.ws_row > 0) {
    size.columns = window.ws_col;
    size.rows = window.ws_row;
  }
  return size;
}

bool wants_color(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return ::isatty(fd) != 0 && (no_color == nullptr || *no_color == '\0') &&
         (term == nullptr || std::string_view(term) != "dumb");
}

bool speaks_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view locale(value);
    return locale.find("UTF-8") != std::string_view::npos || locale.find("utf8") != std::string_view::npos;
  }
  return false;
}

int display_width(char32_t code) {
  if (code < 0x20 || code == 0x7f) return 0;
  if (code < 0x7f) return 1;
  return utf8proc_charwidth(static_cast<utf8proc_int32_t>(code));
}

int display_width(std::string_view text) {
  int width = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = code_point_at(text, at);
    width += display_width(next.code);
    at += next.bytes;
  }
  return width;
}

int column_after(std::string_view text, int column, int columns) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = code_point_at(text, at);
    const int wide = display_width(next.code);
    column = next.code == '\n' || next.code == '\r' ? 0 : column + wide > columns ? wide : column + wide;
    at += next.bytes;
  }
  return column;
}

std::string cut_to(std::string_view text, int columns) {
  std::string out;
  int width = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = code_point_at(text, at);
    const int wide = display_width(next.code);
    if (width + wide > columns) break;
    if (next.code >= 0x20 && next.code != 0x7f) out.append(text.substr(at, next.bytes));
    width += wide;
    at += next.bytes;
  }
  return out;
}

std::string harmless(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = code_point_at(text, at);
    const char32_t code = next.code;
    const bool control = code < 0x20 || (code >= 0x7F && code < 0xA0);
    const bool turns = code == 0x200E || code == 0x200F || (code >= 0x2028 && code <= 0x202E) ||
                       (code >= 0x2066 && code <= 0x2069) || code == 0x061C || code == 0xFEFF;
    if (code == '\n') {
      out += '\n';
    } else if (code == '\t') {
      out += "    ";
    } else if (control || turns) {
      out += code == 0 && text[at] != '\0' ? "\uFFFD" : "·";
    } else {
      out.append(text.substr(at, next.bytes));
    }
    at += next.bytes;
  }
  return out;
}

std::vector<std::string> wrap(std::string_view text, int columns) {
  columns = std::max(columns, 2);
  std::vector<std::string> lines(1);
  int width = 0;
  const auto next_line = [&] {
    lines.emplace_back();
    width = 0;
  };
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '\n') {
      next_line();
      ++at;
      continue;
    }
    if (text[at] == ' ') {
      if (width > 0 && width < columns) {
        lines.back() += ' ';
        ++width;
      }
      ++at;
      continue;
    }
    std::string_view word = text.substr(at, std::min(text.find_first_of(" \n", at), text.size()) - at);
    at += word.size();
    if (width > 0 && width + display_width(word) > columns) next_line();
    while (display_width(word) > columns) {  // a word longer than a line is broken
      lines.back() = cut_to(word, columns);
      word.remove_prefix(std::max<size_t>(lines.back().size(), 1));
      next_line();
    }
    lines.back() += cut_to(word, columns);
    width += display_width(word);
  }
  return lines;
}

void StatusBar::show(const std::string& text) {
  const TerminalSize size = terminal_size(STDERR_FILENO);
  if (size.rows < 4) return;
  std::string out;
  if (size.rows != rows_) {
    if (rows_ == 0) out += "\033D\033[A";                       // the cursor leaves the last row
    out += fmt::format("\0337\033[1;{}r\0338", size.rows - 1);  // setting the region moves the cursor: saved around it
    rows_ = size.rows;
    restore_on_kill("\033[r");
  }
  out += fmt::format("\0337\033[{};1H\033[2K\033[7m {} \033[0m\0338", size.rows, cut_to(text, size.columns - 3));
  put(out);
}

void StatusBar::close() {
  if (rows_ == 0) return;
  put(fmt::format("\0337\033[{};1H\033[2K\033[r\0338", rows_));
  rows_ = 0;
  restore_on_kill("");
}

}  // namespace throughline

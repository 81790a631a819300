#include "cli/styled_text.h"

#include <algorithm>
#include <cstdint>

#include "cli/terminal.h"
#include "text/utf8.h"

namespace throughline {
namespace {

const char* code_of(TextStyle style) {
  switch (style) {
    case TextStyle::kPlain:
      return "";
    case TextStyle::kStrong:
      return "\033[1m";
    case TextStyle::kFaint:
      return "\033[2m";
    case TextStyle::kGood:
      return "\033[32m";
    case TextStyle::kBad:
      return "\033[31m";
    case TextStyle::kDoubt:
      return "\033[33m";
    case TextStyle::kHead:
      return "\033[36m";
    case TextStyle::kTail:
      return "\033[33m";
    case TextStyle::kForced:
      return "\033[1;35m";
    case TextStyle::kSelected:
      return "\033[7m";
  }
  return "";
}

struct Letter {
  uint32_t from;  // in the text
  uint8_t bytes, width;
  TextStyle style;
};

void append(StyledLine& line, TextStyle style, std::string_view text) {
  if (text.empty()) return;
  if (line.empty() || line.back().style != style) line.push_back({style, ""});
  line.back().text += text;
}

}  // namespace

std::string to_ansi(const StyledLine& line, bool color) {
  std::string out;
  for (const StyledSpan& span : line) {
    const char* code = color ? code_of(span.style) : "";
    out += code + span.text + (*code != '\0' ? "\033[0m" : "");
  }
  return out;
}

std::string plain_text(const StyledLine& line) { return to_ansi(line, false); }

int width_of(const StyledLine& line) {
  int width = 0;
  for (const StyledSpan& span : line) width += display_width(span.text);
  return width;
}

StyledLine fitted(const StyledLine& line, int columns, bool fill) {
  StyledLine out;
  int left = columns;
  for (const StyledSpan& span : line) {
    const std::string text = cut_to(span.text, left);
    left -= display_width(text);
    append(out, span.style, text);
    if (text.size() < span.text.size()) break;
  }
  if (fill && left > 0) {
    append(out, out.empty() ? TextStyle::kPlain : out.back().style, std::string(static_cast<size_t>(left), ' '));
  }
  return out;
}

std::vector<StyledLine> wrap_styled(const std::vector<StyledSpan>& text, int columns, const StyledSpan& gutter,
                                    size_t most_lines) {
  const int room = std::max(2, columns - display_width(gutter.text));
  std::string all;
  std::vector<Letter> letters;
  size_t bytes = 0;
  for (const StyledSpan& span : text) bytes += span.text.size();
  letters.reserve(bytes);
  for (const StyledSpan& span : text) {
    const std::string part = harmless(span.text);
    for (size_t at = 0; at < part.size();) {
      const Utf8Step step = next_code_point(part, at);
      letters.push_back({static_cast<uint32_t>(all.size() + at), static_cast<uint8_t>(step.size),
                         static_cast<uint8_t>(display_width(step.code)), span.style});
      at += static_cast<size_t>(step.size);
    }
    all += part;
  }
  std::vector<StyledLine> lines;
  const auto emit = [&](size_t from, size_t to) {
    StyledLine line;
    if (!gutter.text.empty()) append(line, gutter.style, gutter.text);
    for (size_t i = from; i < to; ++i) {
      append(line, letters[i].style, std::string_view(all).substr(letters[i].from, letters[i].bytes));
    }
    lines.push_back(std::move(line));
  };
  size_t from = 0, after_blank = 0;
  int width = 0;
  for (size_t i = 0; i < letters.size() && lines.size() < most_lines; ++i) {
    if (all[letters[i].from] == '\n') {
      emit(from, i);
      from = after_blank = i + 1;
      width = 0;
      continue;
    }
    if (width + letters[i].width > room) {
      // A word that started in the line's first half is broken rather than moved.
      const bool moves = after_blank > from && after_blank - from > static_cast<size_t>(room) / 2;
      const size_t end = moves ? after_blank : i;
      emit(from, end);
      width = 0;
      for (size_t j = end; j < i; ++j) width += letters[j].width;
      from = end;
    }
    width += letters[i].width;
    if (letters[i].bytes == 1 && all[letters[i].from] == ' ') after_blank = i + 1;
  }
  if (lines.size() < most_lines && (from < letters.size() || lines.empty())) emit(from, letters.size());
  return lines;
}

}  // namespace throughline

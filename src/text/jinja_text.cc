#include "text/jinja_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <utility>

namespace throughline::jinja {
namespace {

// The length of the well-formed UTF-8 sequence at `pos`, 0 when there is none.
size_t sequence_length(std::string_view text, size_t pos) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(pos);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || pos + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(pos + i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(pos + 1);
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) return 0;
  if ((first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) return 0;
  return length;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool is_cased(char32_t c) { return is_upper(c) || is_lower(c); }

void append_upper(std::string& out, char32_t c, bool title_case) {
  static constexpr struct {
    char32_t from;
    const char* upper;
    const char* title;
  } kSpecial[] = {{0xDF, "SS", "Ss"},     {0x149, "\xCA\xBCN", "\xCA\xBCN"},
                  {0xFB00, "FF", "Ff"},   {0xFB01, "FI", "Fi"},
                  {0xFB02, "FL", "Fl"},   {0xFB03, "FFI", "Ffi"},
                  {0xFB04, "FFL", "Ffl"}, {0xFB05, "ST", "St"},
                  {0xFB06, "ST", "St"}};
  for (const auto& entry : kSpecial) {
    if (entry.from == c) {
      out += title_case ? entry.title : entry.upper;
      return;
    }
  }
  const auto code = static_cast<utf8proc_int32_t>(c);
  append_utf8(out, static_cast<char32_t>(title_case ? utf8proc_totitle(code) : utf8proc_toupper(code)));
}

// Unicode's Final_Sigma: a cased letter before (case-ignorable ones skipped), none after.
bool is_final_sigma(std::string_view text, size_t at, size_t after) {
  const auto ignorable = [](char32_t c) {
    const auto kind = category(c);
    return c == '\'' || c == 0x2019 || kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_CF;
  };
  bool cased_before = false;
  for (size_t pos = at; pos > 0;) {
    size_t start = pos - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    size_t read = start;
    const char32_t c = next_code_point(text, read);
    pos = start;
    if (ignorable(c)) continue;
    cased_before = is_cased(c);
    break;
  }
  if (!cased_before) return false;
  for (size_t pos = after; pos < text.size();) {
    const char32_t c = next_code_point(text, pos);
    if (!ignorable(c)) return !is_cased(c);
  }
  return true;
}

void append_lower(std::string& out, char32_t c, std::string_view text, size_t at, size_t after) {
  if (c == 0x3A3) {
    append_utf8(out, is_final_sigma(text, at, after) ? 0x3C2 : 0x3C3);
  } else if (c == 0x130) {
    out += "i\xCC\x87";
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

// Rewrites text code point by code point: `rule(previous)` says what the next one becomes.
enum class Case { kKeep, kUpper, kTitle, kLower, kSwap };
template <typename Rule>
std::string map_case(std::string_view text, Rule rule) {
  std::string out;
  out.reserve(text.size());
  char32_t previous = 0;
  for (size_t pos = 0; pos < text.size();) {
    const size_t at = pos;
    const char32_t c = next_code_point(text, pos);
    Case to = rule(previous, c);
    if (to == Case::kSwap) to = is_upper(c) ? Case::kLower : is_lower(c) ? Case::kUpper : Case::kKeep;
    switch (to) {
      case Case::kUpper:
      case Case::kTitle:
        append_upper(out, c, to == Case::kTitle);
        break;
      case Case::kLower:
        append_lower(out, c, text, at, pos);
        break;
      default:
        append_utf8(out, c);
    }
    previous = c;
  }
  return out;
}

}  // namespace

size_t find_invalid_utf8(std::string_view text) {
  for (size_t pos = 0; pos < text.size();) {
    const size_t length = sequence_length(text, pos);
    if (length == 0) return pos;
    pos += length;
  }
  return kNowhere;
}

std::string make_valid_utf8(std::string_view text) {
  if (find_invalid_utf8(text) == kNowhere) return std::string(text);
  std::string out;
  for (size_t pos = 0; pos < text.size();) {
    const size_t length = sequence_length(text, pos);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      ++pos;
    } else {
      out += text.substr(pos, length);
      pos += length;
    }
  }
  return out;
}

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

size_t byte_offset(std::string_view text, size_t index) {
  size_t pos = 0;
  for (; pos < text.size(); ++pos) {
    if ((static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80) continue;
    if (index-- == 0) return pos;
  }
  return pos;
}

char32_t next_code_point(std::string_view text, size_t& pos) {
  const auto byte = [&](size_t i) -> char32_t {
    return pos + i < text.size() ? static_cast<unsigned char>(text[pos + i]) & 0x3F : 0;
  };
  const auto first = static_cast<unsigned char>(text[pos]);
  char32_t c = first;
  size_t length = 1;
  if (first >= 0xF0) {
    c = (char32_t(first & 0x07) << 18) | (byte(1) << 12) | (byte(2) << 6) | byte(3);
    length = 4;
  } else if (first >= 0xE0) {
    c = (char32_t(first & 0x0F) << 12) | (byte(1) << 6) | byte(2);
    length = 3;
  } else if (first >= 0xC0) {
    c = (char32_t(first & 0x1F) << 6) | byte(1);
    length = 2;
  }
  pos = std::min(pos + length, text.size());
  return c;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_letter(char32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_digit(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return category(c) == UTF8PROC_CATEGORY_ND || c == 0xB2 || c == 0xB3 || c == 0xB9;
}

bool is_word(char32_t c) {
  if (c == '_' || is_letter(c)) return true;
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO;
}

bool is_upper(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z';
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LT;
}

bool is_lower(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z';
  return category(c) == UTF8PROC_CATEGORY_LL;
}

bool is_printable(char32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7F;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

namespace {
template <typename Drop>
std::string_view strip_if(std::string_view text, bool left, bool right, Drop drop) {
  while (left && !text.empty()) {
    size_t pos = 0;
    if (!drop(next_code_point(text, pos))) break;
    text.remove_prefix(pos);
  }
  while (right && !text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    size_t pos = start;
    if (!drop(next_code_point(text, pos))) break;
    text = text.substr(0, start);
  }
  return text;
}
}  // namespace

std::string_view strip(std::string_view text, bool left, bool right) {
  return strip_if(text, left, right, [](char32_t c) { return is_space(c); });
}

std::string_view strip_chars(std::string_view text, std::string_view chars, bool left, bool right) {
  std::u32string set;
  for (size_t pos = 0; pos < chars.size();) set += next_code_point(chars, pos);
  std::sort(set.begin(), set.end());
  return strip_if(text, left, right, [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); });
}

std::string upper(std::string_view text) {
  return map_case(text, [](char32_t, char32_t) { return Case::kUpper; });
}
std::string lower(std::string_view text) {
  return map_case(text, [](char32_t, char32_t) { return Case::kLower; });
}
std::string swapcase(std::string_view text) {
  return map_case(text, [](char32_t, char32_t) { return Case::kSwap; });
}
std::string capitalize(std::string_view text) {
  return map_case(text, [first = true](char32_t, char32_t) mutable {
    return std::exchange(first, false) ? Case::kTitle : Case::kLower;
  });
}
std::string title(std::string_view text) {
  return map_case(text, [](char32_t previous, char32_t) { return is_cased(previous) ? Case::kLower : Case::kTitle; });
}
std::string jinja_title(std::string_view text) {
  const auto separates = [](char32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_space(c);
  };
  return map_case(text, [&, first = true](char32_t previous, char32_t) mutable {
    return std::exchange(first, false) || separates(previous) ? Case::kUpper : Case::kLower;
  });
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t pos = 0; pos < text.size();) {
    const size_t at = pos;
    const char32_t c = next_code_point(text, pos);
    const bool ends = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) continue;
    if (c == '\r' && pos < text.size() && text[pos] == '\n') ++pos;
    lines.push_back(text.substr(start, (keep_ends ? pos : at) - start));
    start = pos;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  std::string out;
  if (text.front() == '-') {
    out += '-';
    text.remove_prefix(1);
  }
  const size_t e = text.find('e');
  int exponent = 0;
  const char* digits_of_exponent = text.data() + e + 1 + (text[e + 1] == '+' ? 1 : 0);
  std::from_chars(digits_of_exponent, text.data() + text.size(), exponent);
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    char tail[16];
    std::snprintf(tail, sizeof tail, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
    return out + tail;
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) return out + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  return out + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

std::string string_repr(std::string_view text) {
  const bool has_single = text.find('\'') != kNowhere;
  const char quote = has_single && text.find('"') == kNowhere ? '"' : '\'';
  std::string out(1, quote);
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = next_code_point(text, pos);
    char escaped[16];
    if (c == '\\' || c == static_cast<char32_t>(quote)) {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      append_utf8(out, c);
    } else {
      const char* format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
      std::snprintf(escaped, sizeof escaped, format, static_cast<unsigned>(c));
      out += escaped;
    }
  }
  return out + quote;
}

}  // namespace throughline::jinja

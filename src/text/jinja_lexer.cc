#include "text/jinja_lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "text/jinja_runtime.h"
#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize_newlines(source)) {}

  std::vector<Token> run() {
    while (position_ < source_.size()) lex_text();
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(std::string message) const { throw TemplateError{std::move(message), line_, ""}; }
  bool at(std::string_view what, size_t position) const { return source_.compare(position, what.size(), what) == 0; }
  char peek(size_t ahead) const { return position_ + ahead < source_.size() ? source_[position_ + ahead] : '\0'; }

  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }

  // Moves to `end`, counting lines.
  void advance(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(position_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    position_ = end;
  }

  size_t skip_space(size_t position) const {
    while (position < source_.size()) {
      size_t next = position;
      if (!is_space(next_code_point(source_, next))) break;
      position = next;
    }
    return position;
  }

  // Is "{%[-+]? name [-+]?%}" at `position`? Returns the offset of the sign or bracket before "%}", or kNowhere.
  size_t match_bare_tag(size_t position, std::string_view name, bool plus_allowed) const {
    size_t p = position + 2;
    if (p < source_.size() && (source_[p] == '-' || source_[p] == '+')) ++p;
    p = skip_space(p);
    if (!at(name, p)) return kNowhere;
    p = skip_space(p + name.size());
    const size_t close = p < source_.size() && (source_[p] == '-' || (plus_allowed && source_[p] == '+')) ? p + 1 : p;
    return at("%}", close) ? p : kNowhere;
  }

  // Moves behind a closing bracket whose sign (if any) is at `sign`; `trims`: a following newline goes too.
  void close(size_t sign, bool trims) {
    const char c = source_[sign];
    size_t end = sign + (c == '-' || c == '+' ? 3 : 2);
    if (c == '-') {
      end = skip_space(end);
    } else if (c != '+' && trims && end < source_.size() && source_[end] == '\n') {
      ++end;
    }
    advance(end);
    line_starting_ = source_[end - 1] == '\n';
  }

  // The text before a tag, with what its sign or lstrip_blocks takes away.
  std::string_view before_tag(std::string_view text, char sign, bool is_print) const {
    if (sign == '-') return strip(text, false, true);
    if (sign == '+' || is_print) return text;
    const size_t newline = text.rfind('\n');
    const size_t line_start = newline == kNowhere ? 0 : newline + 1;
    if (line_start == 0 && !line_starting_) return text;
    return strip(text.substr(line_start), true, false).empty() ? text.substr(0, line_start) : text;
  }

  void add_text(std::string_view text) {
    if (!text.empty()) add(TokenKind::kText, std::string(text));
  }

  void lex_text() {
    size_t tag = position_;
    while (tag < source_.size() && !(source_[tag] == '{' && tag + 1 < source_.size() &&
                                     (source_[tag + 1] == '%' || source_[tag + 1] == '{' || source_[tag + 1] == '#'))) {
      tag = source_.find('{', tag + 1);
      if (tag == kNowhere) tag = source_.size();
    }
    const std::string_view text = std::string_view(source_).substr(position_, tag - position_);
    if (tag == source_.size()) {
      add_text(text);
      advance(tag);
      return;
    }
    const char kind = source_[tag + 1];
    const char after = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool has_sign = after == '-' || after == '+';
    add_text(before_tag(text, has_sign ? after : '\0', kind == '{'));
    advance(tag);
    if (const size_t sign = kind == '%' ? match_bare_tag(tag, "raw", false) : kNowhere; sign != kNowhere) {
      lex_raw(sign);
    } else if (kind == '#') {
      lex_comment(tag + (has_sign ? 3 : 2));
    } else {
      add(kind == '{' ? TokenKind::kPrintBegin : TokenKind::kTagBegin, "");
      advance(tag + (has_sign ? 3 : 2));
      lex_code(kind == '{');
    }
  }

  void lex_comment(size_t from) {
    const size_t end = source_.find("#}", from);
    if (end == kNowhere) fail("this comment has no end: \"#}\" is missing");
    const char before = end > from ? source_[end - 1] : '\0';
    close(before == '-' || before == '+' ? end - 1 : end, true);
  }

  void lex_raw(size_t sign) {
    close(sign, false);  // jinja2 leaves the newline behind {% raw %}
    for (size_t tag = source_.find("{%", position_); tag != kNowhere; tag = source_.find("{%", tag + 1)) {
      const size_t end = match_bare_tag(tag, "endraw", true);
      if (end == kNowhere) continue;
      const char after = source_[tag + 2];
      add_text(before_tag(std::string_view(source_).substr(position_, tag - position_),
                          after == '-' || after == '+' ? after : '\0', false));
      advance(tag);
      close(end, true);
      return;
    }
    fail("this raw block has no end: {% endraw %} is missing");
  }

  void lex_code(bool is_print) {
    const int start_line = line_;
    const std::string_view end = is_print ? "}}" : "%}";
    brackets_.clear();
    while (true) {
      const size_t position = skip_space(position_);
      advance(position);
      if (position_ >= source_.size()) {
        line_ = start_line;
        fail(std::string("this ") + (is_print ? "{{" : "{%") + " has no end: \"" + std::string(end) + "\" is missing");
      }
      if (brackets_.empty()) {
        const bool sign = source_[position_] == '-' || (!is_print && source_[position_] == '+');
        if (at(end, position_ + (sign ? 1 : 0))) {
          add(is_print ? TokenKind::kPrintEnd : TokenKind::kTagEnd, "");
          close(position_, !is_print);
          return;
        }
      }
      lex_token();
    }
  }

  void lex_token() {
    const char c = source_[position_];
    if (is_ascii_digit(c)) return lex_number();
    if (c == '\'' || c == '"') return lex_string(c);
    size_t end = position_;
    while (end < source_.size()) {
      size_t next = end;
      if (!is_word(next_code_point(source_, next))) break;
      end = next;
    }
    if (end > position_) {
      add(TokenKind::kName, source_.substr(position_, end - position_));
      position_ = end;
      return;
    }
    lex_operator();
  }

  void lex_operator() {
    static constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                      "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                      ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!at(op, position_)) continue;
      if (op == "(" || op == "[" || op == "{") {
        brackets_ += op == "(" ? ')' : op == "[" ? ']' : '}';
      } else if (op == ")" || op == "]" || op == "}") {
        if (brackets_.empty()) fail("unexpected '" + std::string(op) + "'");
        if (brackets_.back() != op[0]) {
          fail("unexpected '" + std::string(op) + "', expected '" + brackets_.back() + "'");
        }
        brackets_.pop_back();
      }
      add(TokenKind::kOperator, std::string(op));
      position_ += op.size();
      return;
    }
    size_t next = position_;
    next_code_point(source_, next);
    fail("unexpected character " + string_repr(std::string_view(source_).substr(position_, next - position_)));
  }

  // The end of "digits with single underscores between" from `p`; p itself when there is none.
  template <typename IsDigit>
  size_t digits_end(size_t p, IsDigit is_digit_here) const {
    size_t end = p;
    while (end < source_.size()) {
      if (is_digit_here(source_[end])) {
        ++end;
      } else if (source_[end] == '_' && end > p && end + 1 < source_.size() && is_digit_here(source_[end + 1])) {
        end += 2;
      } else {
        break;
      }
    }
    return end;
  }

  void lex_number() {
    if (source_[position_] == '0' && lex_based_number()) return;
    const size_t whole = digits_end(position_, is_ascii_digit);
    size_t end = whole;
    if (whole < source_.size() && source_[whole] == '.') {
      const size_t fraction = digits_end(whole + 1, is_ascii_digit);
      if (fraction > whole + 1) end = fraction;
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      const size_t exponent_end = digits_end(exponent, is_ascii_digit);
      if (exponent_end > exponent) end = exponent_end;
    }
    const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';  // x.0.1 is two subscripts
    if (end > whole && !after_dot) {
      const std::string text = without_underscores(position_, end);
      add(TokenKind::kFloat, text);
      const auto read = std::from_chars(text.data(), text.data() + text.size(), tokens_.back().real);
      if (read.ec != std::errc()) fail("the number " + text.substr(0, 40) + " is out of range");
      position_ = end;
      return;
    }
    size_t integer_end = whole;
    if (source_[position_] == '0') {  // leading zeros stand alone, as in jinja2
      integer_end = digits_end(position_, [](char c) { return c == '0'; });
    }
    add_integer(position_, integer_end, 10);
  }

  bool lex_based_number() {
    const char letter = static_cast<char>(peek(1) | 0x20);
    const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (base == 0) return false;
    const size_t start = position_ + 2 + (peek(2) == '_' ? 1 : 0);
    const size_t end = digits_end(start, [base](char c) {
      const int value = is_ascii_digit(c)                        ? c - '0'
                        : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                 : 99;
      return value < base;
    });
    if (end == start) return false;
    add_integer(start, end, base);
    return true;
  }

  std::string without_underscores(size_t from, size_t to) const {
    std::string text = source_.substr(from, to - from);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    return text;
  }

  void add_integer(size_t from, size_t to, int base) {
    const std::string text = without_underscores(from, to);
    add(TokenKind::kInteger, text);
    const auto read = std::from_chars(text.data(), text.data() + text.size(), tokens_.back().integer, base);
    if (read.ec != std::errc()) fail("the number " + text.substr(0, 40) + " does not fit into 64 bits");
    position_ = to;
  }

  void lex_string(char quote) {
    size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail(std::string("this string has no end: the closing ") + quote + " is missing");
    const std::string text = unescape(std::string_view(source_).substr(position_ + 1, end - position_ - 1));
    add(TokenKind::kString, text);
    advance(end + 1);
  }

  // Python's unicode-escape decoding.
  std::string unescape(std::string_view text) const {
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
      if (text[i] != '\\') {
        out += text[i++];
        continue;
      }
      const char c = text[i + 1];  // the closing quote was found behind it
      i += 2;
      static constexpr std::string_view kFrom = "\\'\"abfnrtv";
      static constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
      if (const size_t simple = kFrom.find(c); simple != kNowhere) {
        out += kTo[simple];
      } else if (c >= '0' && c <= '7') {
        char32_t value = 0;
        for (--i; i < text.size() && text[i] >= '0' && text[i] <= '7' && value < 0x40; ++i) {
          value = value * 8 + static_cast<char32_t>(text[i] - '0');
        }
        append_utf8(out, value);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        append_hex_escape(out, text, i, c == 'x' ? 2 : c == 'u' ? 4 : 8);
      } else if (c == 'N') {
        fail("\\N{name} escapes are not supported");
      } else if (c != '\n') {
        append_unknown_escape(out, text, i);
      }
    }
    return out;
  }

  void append_hex_escape(std::string& out, std::string_view text, size_t& i, size_t count) const {
    uint32_t value = 0;
    const char* begin = text.data() + std::min(i, text.size());
    const char* end = text.data() + std::min(i + count, text.size());
    const auto read = std::from_chars(begin, end, value, 16);
    if (read.ec != std::errc() || read.ptr != begin + count) fail("a \\x, \\u or \\U escape lacks hex digits");
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) fail("a string escape is not a Unicode character");
    append_utf8(out, value);
    i += count;
  }

  // "\q" stays as it is; jinja2 passes non-ASCII characters through backslashreplace first, so their escape shows.
  static void append_unknown_escape(std::string& out, std::string_view text, size_t& i) {
    --i;
    const char32_t c = next_code_point(text, i);
    out += '\\';
    if (c < 0x80) {
      out += static_cast<char>(c);
      return;
    }
    char escaped[16];
    std::snprintf(escaped, sizeof escaped,
                  c < 0x100     ? "x%02x"
                  : c < 0x10000 ? "u%04x"
                                : "U%08x",
                  static_cast<unsigned>(c));
    out += escaped;
  }

  const std::string source_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string brackets_;  // the closing brackets still owed
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kText:
      return "template text";
    case TokenKind::kPrintBegin:
      return "'{{'";
    case TokenKind::kPrintEnd:
      return "the end of {{ }}";
    case TokenKind::kTagBegin:
      return "'{%'";
    case TokenKind::kTagEnd:
      return "the end of {% %}";
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kString:
      return "the string " + quote_text(token.text);
    default:
      return quote_text(token.text);
  }
}

}  // namespace throughline::jinja

#include "gym/instructions/checkers.h"

namespace throughline {
namespace {

// Python 3.11+ refuses to convert longer digit strings, with the ValueError that the published checker takes for "not
// JSON".
constexpr size_t kIntegerDigits = 4300;
constexpr int kDepthLimit = 990;

class Acceptor {
 public:
  explicit Acceptor(std::u32string_view text) : text_(text) {}

  bool document() {
    spaces();
    if (!value(0)) return false;
    spaces();
    return at_ == text_.size();
  }

 private:
  char32_t peek() const { return at_ < text_.size() ? text_[at_] : 0; }
  bool take(char32_t c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take(std::u32string_view word) {
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }
  void spaces() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
  }

  bool value(int depth) {
    if (depth > kDepthLimit) return false;
    switch (peek()) {
      case '"':
        return string();
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      default:
        break;
    }
    for (std::u32string_view word : {U"null", U"true", U"false", U"NaN", U"Infinity", U"-Infinity"}) {
      if (take(word)) return true;
    }
    return number();
  }

  bool object(int depth) {
    ++at_;
    spaces();
    if (take('}')) return true;
    while (true) {
      if (peek() != '"' || !string()) return false;
      spaces();
      if (!take(':')) return false;
      spaces();
      if (!value(depth + 1)) return false;
      spaces();
      if (take('}')) return true;
      if (!take(',')) return false;
      spaces();
    }
  }

  bool array(int depth) {
    ++at_;
    spaces();
    if (take(']')) return true;
    while (true) {
      if (!value(depth + 1)) return false;
      spaces();
      if (take(']')) return true;
      if (!take(',')) return false;
      spaces();
    }
  }

  bool string() {
    ++at_;
    while (at_ < text_.size()) {
      const char32_t c = text_[at_++];
      if (c == '"') return true;
      if (c < 0x20) return false;
      if (c != '\\') continue;
      const char32_t escaped = peek();
      ++at_;
      if (escaped == 'u') {
        for (int i = 0; i < 4; ++i, ++at_) {
          const char32_t digit = peek() | 0x20;
          if (!((peek() >= '0' && peek() <= '9') || (digit >= 'a' && digit <= 'f' && peek() < 0x80))) return false;
        }
      } else if (escaped == 0 || std::u32string_view(U"\"\\/bfnrt").find(escaped) == std::u32string_view::npos) {
        return false;
      }
    }
    return false;
  }

  size_t digits() {
    const size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ - begin;
  }

  bool number() {
    take('-');
    const bool zero = peek() == '0';
    const size_t whole = zero ? (++at_, 1) : digits();
    if (whole == 0) return false;
    bool integer = true;
    // What does not complete a fraction or an exponent is left over, and so refused later.
    size_t before = at_;
    if (take('.')) {
      if (digits() == 0) {
        at_ = before;
      } else {
        integer = false;
      }
    }
    before = at_;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (digits() == 0) {
        at_ = before;
      } else {
        integer = false;
      }
    }
    return !integer || whole <= kIntegerDigits;
  }

  std::u32string_view text_;
  size_t at_ = 0;
};

}  // namespace

bool is_python_json(std::u32string_view text) { return Acceptor(text).document(); }

}  // namespace throughline

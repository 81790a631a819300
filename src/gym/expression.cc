#include "gym/expression.h"

#include <algorithm>
#include <string>

namespace throughline {
namespace {

constexpr size_t kMaxBytes = 1024;
constexpr size_t kMaxNumbers = 64;
constexpr int kMaxDepth = 32;
constexpr int kMaxDigits = 9;

// UTF-8 signs to ASCII, spaces dropped. A space between two digits would join numbers: kept as '_', which nothing
// reads.
std::string to_ascii(std::string_view text) {
  std::string out;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "\xC3\x97") == 0) {
      out += '*';
      i += 1;
    } else if (text.compare(i, 2, "\xC3\xB7") == 0) {
      out += '/';
      i += 1;
    } else if (text.compare(i, 3, "\xE2\x88\x92") == 0) {
      out += '-';
      i += 2;
    } else if (text[i] == ' ') {
      const bool joins = !out.empty() && digit(out.back()) && i + 1 < text.size() && digit(text[i + 1]);
      if (joins) out += '_';
    } else {
      out += text[i];
    }
  }
  return out;
}

__int128 gcd(__int128 a, __int128 b) {
  if (a < 0) a = -a;
  while (b != 0) {
    const __int128 r = a % b;
    a = b;
    b = r;
  }
  return a;
}

std::optional<Rational> reduced(__int128 numerator, __int128 denominator) {
  // -2^127 has no absolute value.
  constexpr __int128 kLowest = static_cast<__int128>(static_cast<unsigned __int128>(1) << 127);
  if (denominator == 0 || numerator == kLowest || denominator == kLowest) return std::nullopt;
  if (denominator < 0) {
    numerator = -numerator;
    denominator = -denominator;
  }
  const __int128 common = gcd(numerator, denominator);
  return Rational{numerator / common, denominator / common};
}

std::optional<Rational> combine(char op, const std::optional<Rational>& a, const std::optional<Rational>& b) {
  if (!a || !b) return std::nullopt;
  __int128 left = 0, right = 0, top = 0, bottom = 0;
  bool overflow = false;
  if (op == '+' || op == '-') {
    overflow |= __builtin_mul_overflow(a->numerator, b->denominator, &left);
    overflow |= __builtin_mul_overflow(b->numerator, a->denominator, &right);
    overflow |= op == '+' ? __builtin_add_overflow(left, right, &top) : __builtin_sub_overflow(left, right, &top);
    overflow |= __builtin_mul_overflow(a->denominator, b->denominator, &bottom);
  } else {
    overflow |= __builtin_mul_overflow(a->numerator, op == '*' ? b->numerator : b->denominator, &top);
    overflow |= __builtin_mul_overflow(a->denominator, op == '*' ? b->denominator : b->numerator, &bottom);
  }
  if (overflow) return std::nullopt;
  return reduced(top, bottom);
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::optional<Evaluated> read() {
    Evaluated out;
    out.value = expression(0);
    if (failed_ || at_ != text_.size()) return std::nullopt;
    out.numbers = std::move(numbers_);
    return out;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  std::optional<Rational> expression(int depth) {
    std::optional<Rational> value = term(depth);
    while (!failed_ && (peek() == '+' || peek() == '-')) {
      const char op = text_[at_++];
      value = combine(op, value, term(depth));
    }
    return value;
  }

  std::optional<Rational> term(int depth) {
    std::optional<Rational> value = factor(depth);
    while (!failed_ && (peek() == '*' || peek() == '/')) {
      const char op = text_[at_++];
      value = combine(op, value, factor(depth));
    }
    return value;
  }

  std::optional<Rational> factor(int depth) {
    if (peek() == '(' && depth < kMaxDepth) {
      ++at_;
      std::optional<Rational> value = expression(depth + 1);
      if (peek() != ')') return fail();
      ++at_;
      return value;
    }
    int64_t number = 0;
    int digits = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_, ++digits) {
      if (digits == kMaxDigits) return fail();
      number = number * 10 + (peek() - '0');
    }
    if (digits == 0 || numbers_.size() == kMaxNumbers) return fail();
    numbers_.push_back(number);
    return Rational{number, 1};
  }

  std::optional<Rational> fail() {
    failed_ = true;
    return std::nullopt;
  }

  std::string_view text_;
  size_t at_ = 0;
  bool failed_ = false;
  std::vector<int64_t> numbers_;
};

}  // namespace

std::optional<Evaluated> evaluate_expression(std::string_view text) {
  if (text.size() > kMaxBytes) return std::nullopt;
  const std::string ascii = to_ascii(text);
  return Reader(ascii).read();
}

TaskVerdict check_arithmetic(std::string_view text, const std::vector<int64_t>& numbers, int64_t target) {
  auto seen = evaluate_expression(text);
  if (!seen) return TaskVerdict::kNoAnswer;
  std::vector<int64_t> given = numbers;
  std::sort(given.begin(), given.end());
  std::sort(seen->numbers.begin(), seen->numbers.end());
  const bool right = seen->numbers == given && seen->value && seen->value->is(target);
  return right ? TaskVerdict::kRight : TaskVerdict::kWrong;
}

}  // namespace throughline

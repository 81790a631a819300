#include "gym/tasks/long_multiplication.h"

#include <algorithm>

#include "gym/task_text.h"

namespace throughline {
namespace {

// Decimal numbers as strings of digits, most significant first, without leading zeros.
std::string times_digit(const std::string& a, int digit) {
  std::string out;
  int carry = 0;
  for (size_t i = a.size(); i-- > 0;) {
    const int x = (a[i] - '0') * digit + carry;
    out += static_cast<char>('0' + x % 10);
    carry = x / 10;
  }
  if (carry > 0) out += static_cast<char>('0' + carry);
  std::reverse(out.begin(), out.end());
  return *canonical_integer(out);
}

std::string add(const std::string& a, const std::string& b) {
  std::string out;
  int carry = 0;
  for (size_t i = 0; i < std::max(a.size(), b.size()) || carry > 0; ++i) {
    int x = carry;
    if (i < a.size()) x += a[a.size() - 1 - i] - '0';
    if (i < b.size()) x += b[b.size() - 1 - i] - '0';
    out += static_cast<char>('0' + x % 10);
    carry = x / 10;
  }
  std::reverse(out.begin(), out.end());
  return *canonical_integer(out);
}

std::string draw_number(CounterStream& draw, int64_t digits) {
  std::string out(1, static_cast<char>('0' + draw.integer(1, 9)));
  while (static_cast<int64_t>(out.size()) < digits) out += static_cast<char>('0' + draw.integer(0, 9));
  return out;
}

class LongMultiplication final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{
        "long_multiplication",
        "long multiplication with a running accumulator (delethink.md E.3)",
        {{.name = "digits", .default_text = "4", .help = "digits of the first number", .minimum = 1, .maximum = 128},
         {.name = "digits2", .help = "digits of the second number (off: as the first)", .minimum = 1, .maximum = 128}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"long_multiplication:digits=2", "long_multiplication:digits=4", "long_multiplication:digits=8",
            "long_multiplication:digits=16", "long_multiplication:digits=32"};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    const std::string a = draw_number(draw, spec.integer("digits"));
    const std::string b = draw_number(draw, spec.has("digits2") ? spec.integer("digits2") : spec.integer("digits"));
    const std::string bar = styled(spec, style, {"|", " ", " sum "});
    const std::string end = styled(spec, style, {"\n", "; "});
    const bool show_product = styled(spec, style, {"full", "short"}) == "full";
    Draft out;
    out.puzzle = a + "*" + b;
    std::string sum = "0", zeros;
    for (size_t i = 0; i < b.size(); ++i) {
      const int digit = b[b.size() - 1 - i] - '0';
      const std::string partial = times_digit(a, digit);
      sum = add(sum, partial == "0" ? partial : partial + zeros);
      zeros += '0';
      if (i > 0) out.trace += end;
      out.trace += std::to_string(i + 1) + ":" + std::to_string(digit) + (show_product ? "*" + a : "") + "=" + partial +
                   bar + sum;
    }
    out.answer = sum;
    return out;
  }

  std::string explanation(const Spec&) const override {
    return "Multiply the two numbers below. Answer with the product.";
  }

  TaskVerdict judge(std::string_view, std::string_view answer, std::string_view given) const override {
    const auto seen = canonical_integer(given);
    if (!seen) return TaskVerdict::kNoAnswer;
    return *seen == canonical_integer(answer) ? TaskVerdict::kRight : TaskVerdict::kWrong;
  }
};

}  // namespace

std::unique_ptr<const Task> make_long_multiplication() { return std::make_unique<LongMultiplication>(); }

}  // namespace throughline

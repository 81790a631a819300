#include "text/jinja_operators.h"

#include <cmath>
#include <string>

#include "text/jinja_format.h"
#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

[[noreturn]] void fail_types(Runtime& rt, std::string_view op, const Value& a, const Value& b) {
  if (a.is_undefined()) rt.fail(a.undefined_message());
  if (b.is_undefined()) rt.fail(b.undefined_message());
  rt.fail("unsupported operand types for " + std::string(op) + ": '" + type_name(a) + "' and '" + type_name(b) + "'");
}

[[noreturn]] void fail_overflow(Runtime& rt) { rt.fail("an integer does not fit into 64 bits"); }

Value int_power(Runtime& rt, int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) rt.fail("0.0 cannot be raised to a negative power");
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  if (base == 0 || base == 1) return Value::integer(exponent == 0 ? 1 : base);
  if (base == -1) return Value::integer(exponent % 2 == 0 ? 1 : -1);
  if (exponent > 64) fail_overflow(rt);
  int64_t result = 1;
  for (int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) fail_overflow(rt);
  }
  return Value::integer(result);
}

Value int_arithmetic(Runtime& rt, std::string_view op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    return int_power(rt, a, b);
  } else {
    if (b == 0) rt.fail(op == "/" ? "division by zero" : "integer division or modulo by zero");
    if (op == "/") return Value::real(static_cast<double>(a) / static_cast<double>(b));
    if (b == -1) {
      overflow = op == "//" && __builtin_sub_overflow(int64_t{0}, a, &result);
      if (op == "%") result = 0;
    } else if (op == "//") {
      result = a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
    } else {
      result = a % b;
      if (result != 0 && (result < 0) != (b < 0)) result += b;
    }
  }
  if (overflow) fail_overflow(rt);
  return Value::integer(result);
}

Value float_arithmetic(Runtime& rt, std::string_view op, double a, double b) {
  if (op == "+") return Value::real(a + b);
  if (op == "-") return Value::real(a - b);
  if (op == "*") return Value::real(a * b);
  if (op == "**") {
    if (a == 0 && b < 0) rt.fail("0.0 cannot be raised to a negative power");
    const double power = std::pow(a, b);
    if (std::isnan(power) && !std::isnan(a) && !std::isnan(b)) rt.fail("complex numbers are not supported");
    if (std::isinf(power) && std::isfinite(a) && std::isfinite(b)) rt.fail("a float is out of range");
    return Value::real(power);
  }
  if (b == 0) rt.fail(op == "/" ? "float division by zero" : "float floor division or modulo by zero");
  if (op == "/") return Value::real(a / b);
  double rest = std::fmod(a, b);
  double whole = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) {
    rest += b;
    whole -= 1.0;
  }
  if (op == "%") return Value::real(rest == 0 ? std::copysign(0.0, b) : rest);
  double floor = std::floor(whole);
  if (whole - floor > 0.5) floor += 1.0;
  return Value::real(floor == 0 ? std::copysign(0.0, a / b) : floor);
}

Value repeat(Runtime& rt, const Value& value, int64_t times) {
  if (times < 0) times = 0;
  const auto count = static_cast<size_t>(times);
  if (value.is_string()) {
    const std::string& text = value.text();
    if (!text.empty() && count > rt.limits().output_bytes / text.size()) rt.check_size(rt.limits().output_bytes + 1);
    std::string out;
    out.reserve(text.size() * count);
    for (size_t i = 0; i < count && !text.empty(); ++i) out += text;
    return rt.string(std::move(out), value.is_markup());
  }
  const Values& items = value.items();
  constexpr size_t kItemLimit = size_t{1} << 20;
  if (!items.empty() && count > kItemLimit / items.size()) rt.fail("a list with more than 2^20 items");
  Values out;
  rt.charge(items.size() * count * sizeof(Value));
  for (size_t i = 0; i < count && !items.empty(); ++i) out.insert(out.end(), items.begin(), items.end());
  return rt.sequence(value.kind(), std::move(out), false);
}

Value add_text(Runtime& rt, const Value& a, const Value& b) {
  const bool markup = a.is_markup() || b.is_markup();
  if (!markup) {
    rt.check_size(a.text().size() + b.text().size());
    std::string out;
    out.reserve(a.text().size() + b.text().size());
    out += a.text();
    out += b.text();
    return rt.string(std::move(out));
  }
  // markupsafe: what is not markup yet is escaped when it meets markup.
  rt.charge((a.text().size() + b.text().size()) * 5);
  return rt.string(
      (a.is_markup() ? a.text() : escape_html(a.text())) + (b.is_markup() ? b.text() : escape_html(b.text())), true);
}

}  // namespace

Value arithmetic(Runtime& rt, std::string_view op, const Value& a, const Value& b) {
  rt.step(1);
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return int_arithmetic(rt, op, a.as_int(), b.as_int());
    return float_arithmetic(rt, op, a.as_double(), b.as_double());
  }
  if (op == "+") {
    if (a.is_string() && b.is_string()) return add_text(rt, a, b);
    if (a.is_sequence() && a.kind() == b.kind()) {
      Values items;
      rt.charge((a.items().size() + b.items().size()) * sizeof(Value));
      items.reserve(a.items().size() + b.items().size());
      items.insert(items.end(), a.items().begin(), a.items().end());
      items.insert(items.end(), b.items().begin(), b.items().end());
      return rt.sequence(a.kind(), std::move(items), false);
    }
  } else if (op == "*") {
    if ((a.is_string() || a.is_sequence()) && b.is_integral()) return repeat(rt, a, b.as_int());
    if ((b.is_string() || b.is_sequence()) && a.is_integral()) return repeat(rt, b, a.as_int());
  } else if (op == "%" && a.is_string()) {
    return rt.string(format_percent(rt, a.text(), b));
  }
  fail_types(rt, op, a, b);
}

Value negative(Runtime& rt, const Value& value) {
  rt.step(1);
  if (value.is_integral()) return int_arithmetic(rt, "-", 0, value.as_int());
  if (value.is(Kind::kFloat)) return Value::real(-value.as_double());
  if (value.is_undefined()) rt.fail(value.undefined_message());
  rt.fail("bad operand type for unary -: '" + std::string(type_name(value)) + "'");
}

Value positive(Runtime& rt, const Value& value) {
  rt.step(1);
  if (value.is_integral()) return Value::integer(value.as_int());
  if (value.is(Kind::kFloat)) return value;
  if (value.is_undefined()) rt.fail(value.undefined_message());
  rt.fail("bad operand type for unary +: '" + std::string(type_name(value)) + "'");
}

}  // namespace throughline::jinja

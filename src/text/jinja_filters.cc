#include "text/jinja_filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "text/jinja_access.h"
#include "text/jinja_format.h"
#include "text/jinja_print.h"
#include "text/jinja_string_methods.h"
#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

// ---- text ----

// Input as text, with the cost of one careful walk over it charged.
std::string text_of(Runtime& rt, const Value& input) {
  std::string text = to_str(rt, input);
  rt.scan(text.size() * 8);
  return text;
}

Value filter_upper(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "upper", args, {});
  return rt.string(upper(text_of(rt, input)));
}
Value filter_lower(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "lower", args, {});
  return rt.string(lower(text_of(rt, input)));
}
Value filter_capitalize(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "capitalize", args, {});
  return rt.string(capitalize(text_of(rt, input)));
}
Value filter_title(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "title", args, {});
  return rt.string(jinja_title(text_of(rt, input)));
}
Value filter_string(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "string", args, {});
  return input.is_string() ? input : rt.string(to_str(rt, input));
}
Value filter_trim(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "trim", args, {"chars"});
  const std::string text = to_str(rt, input);
  if (!bound.given(0)) return rt.string(strip(text, true, true));
  const std::string& chars = rt.as_text(bound[0], "trim's argument");
  rt.charge(chars.size() * 8);
  return rt.string(strip_chars(text, chars, true, true));
}
Value filter_replace(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "replace", args, {"old", "new", "count"}, 2);
  const int64_t count = bound.given(2) ? rt.as_index(bound[2], "count") : -1;
  return rt.string(replace_text(rt, to_str(rt, input), to_str(rt, bound[0]), to_str(rt, bound[1]), count));
}
Value filter_center(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "center", args, {"width"});
  return rt.string(pad_text(rt, text_of(rt, input), bound.index(0, 80, "width"), " ", 0.5));
}
Value filter_format(Runtime& rt, const Value& input, const Args& args) {
  if (!args.positional.empty() && !args.named.empty()) {
    rt.fail("format cannot take positional and keyword arguments at the same time");
  }
  const std::string text = to_str(rt, input);
  if (args.named.empty()) return rt.string(format_percent(rt, text, rt.tuple(args.positional)));
  Dict values;
  for (const auto& [name, value] : args.named) rt.set(values, rt.string(name), value);
  return rt.string(format_percent(rt, text, rt.dict(std::move(values))));
}
Value filter_indent(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "indent", args, {"width", "first", "blank"});
  const std::string& text = rt.as_text(input, "indent's input");
  std::string indention;
  if (bound.has(0) && bound[0].is_string()) {
    indention = bound[0].text();
  } else {
    const int64_t width = std::max<int64_t>(bound.index(0, 4, "width"), 0);
    rt.check_size(static_cast<size_t>(width));
    indention.assign(static_cast<size_t>(width), ' ');
  }
  const bool blank = bound.flag(2, false);
  std::string out = bound.flag(1, false) ? indention : "";
  rt.charge(text.size() * 16);
  const std::string with_end = text + "\n";
  bool first_line = true;
  for (const std::string_view line : split_lines(with_end, false)) {
    rt.check_size(out.size() + indention.size() + line.size() + 1);
    if (!first_line) {
      out += '\n';
      if (blank || !line.empty()) out += indention;
    }
    first_line = false;
    out += line;
  }
  return rt.string(std::move(out));
}
Value filter_truncate(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "truncate", args, {"length", "killwords", "end", "leeway"});
  const std::string& text = rt.as_text(input, "truncate's input");
  const int64_t length = bound.index(0, 255, "length");
  const std::string end = bound.has(2) ? rt.as_text(bound[2], "end") : "...";
  const int64_t leeway = bound.given(3) ? rt.as_index(bound[3], "leeway") : 5;
  const auto end_length = static_cast<int64_t>(count_code_points(end));
  if (length < end_length) rt.fail("truncate: expected length >= " + std::to_string(end_length));
  if (leeway < 0) rt.fail("truncate: expected leeway >= 0");
  if (rt.length(input) - leeway <= length) return input;
  std::string cut = text.substr(0, byte_offset(text, static_cast<size_t>(length - end_length)));
  if (!bound.flag(1, false)) cut = cut.substr(0, cut.rfind(' '));
  return rt.string(cut + end);
}
Value filter_wordcount(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "wordcount", args, {});
  const std::string text = text_of(rt, input);
  int64_t count = 0;
  bool in_word = false;
  for (size_t pos = 0; pos < text.size();) {
    const bool word = is_word(next_code_point(text, pos));
    count += word && !in_word ? 1 : 0;
    in_word = word;
  }
  return Value::integer(count);
}
Value filter_escape(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "escape", args, {});
  if (input.is_markup()) return input;
  const std::string text = to_str(rt, input);
  rt.charge(text.size() * 5);
  return rt.string(escape_html(text), true);
}
Value filter_forceescape(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "forceescape", args, {});
  const std::string text = to_str(rt, input);
  rt.charge(text.size() * 5);
  return rt.string(escape_html(text), true);
}
Value filter_safe(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "safe", args, {});
  return rt.string(to_str(rt, input), true);
}

std::string url_quote(std::string_view text, bool in_query) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
                       c == '.' || c == '-' || c == '~' || (c == '/' && !in_query);
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "%%%02X", static_cast<unsigned char>(c));
    out += plain ? std::string(1, c) : c == ' ' && in_query ? "+" : std::string(escaped);
  }
  return out;
}
Value filter_urlencode(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "urlencode", args, {});
  if (input.is_string() || !rt.is_iterable(input)) {
    const std::string text = text_of(rt, input);
    rt.check_size(text.size() * 3);
    return rt.string(url_quote(text, false));
  }
  Values pairs;
  if (input.is_dict()) {
    for (const auto& [key, value] : input.dict().entries()) pairs.push_back(rt.tuple({key, value}));
  } else {
    pairs = rt.iterate(input);
  }
  std::string out;
  for (const Value& pair : pairs) {
    const Values both = rt.iterate(pair);
    if (both.size() != 2) rt.fail("urlencode expects pairs");
    const std::string key = to_str(rt, both[0]), value = to_str(rt, both[1]);
    rt.check_size(out.size() + 3 * (key.size() + value.size()));
    rt.scan(8 * (key.size() + value.size()));
    out += (out.empty() ? "" : "&") + url_quote(key, true) + "=" + url_quote(value, true);
  }
  return rt.string(std::move(out));
}

Value filter_tojson(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.flag(0, false);
  if (bound.given(1)) {
    if (bound[1].is_string()) {
      style.indent = bound[1].text();
    } else {
      const int64_t width = std::max<int64_t>(rt.as_index(bound[1], "indent"), 0);
      rt.check_size(static_cast<size_t>(width));
      style.indent = std::string(static_cast<size_t>(width), ' ');
    }
    style.item_separator = ",";
  }
  if (bound.given(2)) {
    const Values both = rt.iterate(bound[2]);
    if (both.size() != 2) rt.fail("tojson: separators must be two strings");
    style.item_separator = rt.as_text(both[0], "a separator");
    style.key_separator = rt.as_text(both[1], "a separator");
  }
  style.sort_keys = bound.flag(3, false);
  return rt.string(to_json(rt, input, style));
}

// ---- numbers ----

// int(text, base): white space around, a sign, a fitting prefix, single underscores between digits.
std::optional<int64_t> parse_int(Runtime& rt, std::string_view text, int64_t base) {
  text = strip(text, true, true);
  std::string digits;
  bool minus = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    minus = text[0] == '-';
    text.remove_prefix(1);
  }
  const auto prefixed = [&](char letter) { return text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == letter; };
  if (base == 0) {
    base = prefixed('x') ? 16 : prefixed('o') ? 8 : prefixed('b') ? 2 : 10;
    if (base == 10 && text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != kNowhere) return {};
  }
  if ((base == 16 && prefixed('x')) || (base == 8 && prefixed('o')) || (base == 2 && prefixed('b'))) {
    text.remove_prefix(2);
    if (!text.empty() && text[0] == '_') text.remove_prefix(1);
  }
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      digits += text[i];
    } else if (i == 0 || i + 1 == text.size() || text[i - 1] == '_') {
      return {};
    }
  }
  if (digits.empty() || digits[0] == '-') return {};
  int64_t value = 0;
  const std::string signed_digits = (minus ? "-" : "") + digits;
  const auto [end, error] =
      std::from_chars(signed_digits.data(), signed_digits.data() + signed_digits.size(), value, static_cast<int>(base));
  if (end != signed_digits.data() + signed_digits.size()) return {};
  if (error == std::errc::result_out_of_range)
    rt.fail("the integer " + quote_text(text) + " does not fit into 64 bits");
  return value;
}

std::optional<double> parse_float(std::string_view text) {
  text = strip(text, true, true);
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t k) { return k < text.size() && text[k] >= '0' && text[k] <= '9'; };
    if (text[i] != '_') {
      digits += text[i];
    } else if (i == 0 || !digit(i - 1) || !digit(i + 1)) {
      return {};
    }
  }
  std::string_view rest = digits;
  bool minus = false;
  if (!rest.empty() && (rest[0] == '+' || rest[0] == '-')) {
    minus = rest[0] == '-';
    rest.remove_prefix(1);
  }
  if (rest.empty() || rest[0] == '-' || rest[0] == '+') return {};
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (end != rest.data() + rest.size() || rest.find('(') != kNowhere) return {};
  if (error == std::errc::result_out_of_range) value = rest.find("e-") != kNowhere || rest[0] == '0' ? 0.0 : HUGE_VAL;
  if (error == std::errc::invalid_argument) return {};
  return minus ? -value : value;
}

// int(float): nothing for NaN, an error when it does not fit.
std::optional<int64_t> int_of(Runtime& rt, double number) {
  if (std::isnan(number)) return {};
  const double whole = std::trunc(number);
  if (!(whole >= -9223372036854775808.0 && whole < 9223372036854775808.0)) {
    rt.fail("the number " + float_repr(number) + " does not fit into 64 bits");
  }
  return static_cast<int64_t>(whole);
}

Value filter_int(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "int", args, {"default", "base"});
  const int64_t base = bound.index(1, 10, "base");
  if (input.is_undefined()) rt.fail(input.undefined_message());
  std::optional<int64_t> number;
  if (input.is_integral()) {
    number = input.as_int();
  } else if (input.is(Kind::kFloat)) {
    number = int_of(rt, input.as_double());
  } else if (input.is_string()) {
    if (base == 0 || (base >= 2 && base <= 36)) number = parse_int(rt, input.text(), base);
    if (!number) {
      if (const auto real = parse_float(input.text())) number = int_of(rt, *real);
    }
  }
  return number ? Value::integer(*number) : bound.get(0, Value::integer(0));
}

Value filter_float(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "float", args, {"default"});
  if (input.is_undefined()) rt.fail(input.undefined_message());
  std::optional<double> number;
  if (input.is_number()) number = input.as_double();
  if (input.is_string()) number = parse_float(input.text());
  return number ? Value::real(*number) : bound.get(0, Value::real(0.0));
}

Value filter_abs(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "abs", args, {});
  if (input.is(Kind::kFloat)) return Value::real(std::fabs(input.as_double()));
  const int64_t number = rt.as_index(input, "abs's input");
  if (number == INT64_MIN) rt.fail("an integer does not fit into 64 bits");
  return Value::integer(number < 0 ? -number : number);
}

double round_float(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 330) return value;
  if (precision < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    return std::isfinite(unit) ? std::nearbyint(value / unit) * unit : std::copysign(0.0, value);
  }
  char buffer[1024];  // exact decimal expansion, rounded half to even: what Python's round does
  std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), value);
  double rounded = 0;
  std::from_chars(buffer, buffer + std::char_traits<char>::length(buffer), rounded);
  return rounded;
}

Value round_int(Runtime& rt, int64_t value, int64_t precision) {
  if (precision >= 0) return Value::integer(value);
  if (precision < -18) return Value::integer(0);
  int64_t unit = 1;
  for (int64_t i = 0; i < -precision; ++i) unit *= 10;
  int64_t rest = value % unit;
  if (rest < 0) rest += unit;
  int64_t low = 0, result = 0;
  if (__builtin_sub_overflow(value, rest, &low)) rt.fail("an integer does not fit into 64 bits");
  const bool up = rest > unit - rest || (rest == unit - rest && (low / unit) % 2 != 0);
  if (__builtin_add_overflow(low, up ? unit : 0, &result)) rt.fail("an integer does not fit into 64 bits");
  return Value::integer(result);
}

Value filter_round(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "round", args, {"precision", "method"});
  const std::string method = bound.has(1) ? rt.as_text(bound[1], "method") : "common";
  if (method != "common" && method != "ceil" && method != "floor") rt.fail("method must be common, ceil or floor");
  if (!input.is_number()) rt.as_index(input, "round's input");
  const int64_t precision = bound.index(0, 0, "precision");
  if (precision > 1000 || precision < -1000) rt.fail("round's precision is out of range");
  if (method == "common") {
    if (input.is_integral()) return round_int(rt, input.as_int(), precision);
    return Value::real(round_float(input.as_double(), precision));
  }
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = input.as_double() * unit;
  if (!std::isfinite(scaled) || unit == 0) rt.fail("a float is out of range");
  return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

// ---- any value ----

Value filter_default(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "default", args, {"default_value", "boolean"});
  const bool replace = input.is_undefined() || (bound.flag(1, false) && !rt.truthy(input));
  return replace ? bound.get(0, Value::string("")) : input;
}
Value filter_length(Runtime& rt, const Value& input, const Args& args) {
  const Bound none(rt, "length", args, {});
  return Value::integer(rt.length(input));
}
Value filter_attr(Runtime& rt, const Value& input, const Args& args) {
  const Bound bound(rt, "attr", args, {"name"}, 1);
  const std::string& name = rt.as_text(bound[0], "attr's argument");
  if (input.is_dict() && !has_method(input, name)) {
    return Value::undefined("'dict object' has no attribute " + quote_text(name));
  }
  return get_attribute(rt, input, name);
}

constexpr FilterEntry kFilters[] = {{"abs", filter_abs},
                                    {"attr", filter_attr},
                                    {"capitalize", filter_capitalize},
                                    {"center", filter_center},
                                    {"count", filter_length},
                                    {"d", filter_default},
                                    {"default", filter_default},
                                    {"e", filter_escape},
                                    {"escape", filter_escape},
                                    {"float", filter_float},
                                    {"forceescape", filter_forceescape},
                                    {"format", filter_format},
                                    {"indent", filter_indent},
                                    {"int", filter_int},
                                    {"length", filter_length},
                                    {"lower", filter_lower},
                                    {"replace", filter_replace},
                                    {"round", filter_round},
                                    {"safe", filter_safe},
                                    {"string", filter_string},
                                    {"title", filter_title},
                                    {"tojson", filter_tojson},
                                    {"trim", filter_trim},
                                    {"truncate", filter_truncate},
                                    {"upper", filter_upper},
                                    {"urlencode", filter_urlencode},
                                    {"wordcount", filter_wordcount}};

Filter find_filter(std::string_view name) {
  for (const FilterEntry& entry : kFilters) {
    if (entry.name == name) return entry.filter;
  }
  return find_sequence_filter(name);
}

}  // namespace

bool is_filter(std::string_view name) { return find_filter(name) != nullptr; }

Value apply_filter(Runtime& rt, std::string_view name, const Value& input, const Args& args) {
  rt.step(1);
  const Filter filter = find_filter(name);
  if (filter == nullptr) rt.fail("there is no filter named " + quote_text(name));
  return filter(rt, input, args);
}

}  // namespace throughline::jinja

#include "text/jinja_format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "text/jinja_access.h"
#include "text/jinja_print.h"
#include "text/jinja_string_methods.h"
#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

constexpr int64_t kWidthLimit = 100'000;  // code points; also of precisions of text
constexpr int kPrecisionLimit = 340;      // digits; more than any double has

struct Spec {
  std::string fill = " ";
  char align = 0;  // < > ^ =
  char sign = '-';
  bool alternate = false;
  bool comma = false;
  int64_t width = 0;
  int64_t precision = -1;
  char type = 0;
};

int64_t read_number(Runtime& rt, std::string_view text, size_t& pos) {
  int64_t value = 0;
  for (; pos < text.size() && text[pos] >= '0' && text[pos] <= '9'; ++pos) {
    value = value * 10 + (text[pos] - '0');
    if (value > kWidthLimit) rt.fail("a format's width or precision is above " + std::to_string(kWidthLimit));
  }
  return value;
}

std::string in_base(uint64_t value, int base, bool upper_case) {
  char buffer[72];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, base).ptr;
  std::string out(buffer, end);
  if (upper_case) std::transform(out.begin(), out.end(), out.begin(), [](char c) { return c >= 'a' ? c - 32 : c; });
  return out;
}

std::string digits_of(int64_t value, const Spec& spec) {
  const uint64_t magnitude = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  switch (spec.type) {
    case 'x':
      return (spec.alternate ? "0x" : "") + in_base(magnitude, 16, false);
    case 'X':
      return (spec.alternate ? "0X" : "") + in_base(magnitude, 16, true);
    case 'o':
      return (spec.alternate ? "0o" : "") + in_base(magnitude, 8, false);
    case 'b':
      return (spec.alternate ? "0b" : "") + in_base(magnitude, 2, false);
    default:
      return in_base(magnitude, 10, false);
  }
}

std::string digits_of(Runtime& rt, double value, const Spec& spec) {
  const double magnitude = std::fabs(value);
  if (std::isnan(value) || std::isinf(value)) return std::isnan(value) ? "nan" : "inf";
  if (spec.precision > kPrecisionLimit) rt.fail("a float's precision is above " + std::to_string(kPrecisionLimit));
  if (spec.type == 0 && spec.precision < 0) return float_repr(magnitude);
  const int precision = spec.precision < 0 ? 6 : static_cast<int>(spec.precision);
  char buffer[1024];
  const char type = spec.type == '%' ? 'f' : spec.type == 0 ? 'g' : spec.type;
  const char format[] = {'%', '.', '*', type, '\0'};
  const double scaled = spec.type == '%' ? magnitude * 100 : magnitude;
  const int length = std::snprintf(buffer, sizeof buffer, format, precision, scaled);
  std::string out(buffer, static_cast<size_t>(std::clamp(length, 0, static_cast<int>(sizeof buffer) - 1)));
  if (spec.type == 0 && out.find_first_of(".en") == std::string::npos) out += ".0";
  return spec.type == '%' ? out + "%" : out;
}

void insert_commas(std::string& digits) {
  size_t end = 0;
  while (end < digits.size() && digits[end] >= '0' && digits[end] <= '9') ++end;
  for (size_t at = end; at > 3; at -= 3) digits.insert(at - 3, 1, ',');
}

std::string pad(Runtime& rt, const Spec& spec, const std::string& sign, const std::string& body, char default_align) {
  const char align = spec.align != 0 ? spec.align : default_align;
  const std::string whole = sign + body;
  const auto length = static_cast<int64_t>(count_code_points(whole));
  if (spec.width <= length) return whole;
  if (align == '=') return sign + pad_text(rt, body, spec.width - static_cast<int64_t>(sign.size()), spec.fill, 1.0);
  if (align == '^') {
    const int64_t left = (spec.width - length) / 2;
    const std::string half = pad_text(rt, whole, length + left, spec.fill, 1.0);
    return pad_text(rt, half, spec.width, spec.fill, 0.0);
  }
  return pad_text(rt, whole, spec.width, spec.fill, align == '>' ? 1.0 : 0.0);
}

std::string format_number(Runtime& rt, const Value& value, const Spec& spec) {
  const std::string_view float_types = "eEfFgG%";
  const bool as_float = value.is(Kind::kFloat) || float_types.find(spec.type) != kNowhere;
  std::string body;
  bool negative = false;
  if (as_float) {
    if (spec.type != 0 && float_types.find(spec.type) == kNowhere) {
      rt.fail(std::string("the format code '") + spec.type + "' does not fit a float");
    }
    body = digits_of(rt, value.as_double(), spec);
    negative = std::signbit(value.as_double()) && !std::isnan(value.as_double());
  } else {
    body = digits_of(value.as_int(), spec);
    negative = value.as_int() < 0;
  }
  if (spec.comma) insert_commas(body);
  const std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  return pad(rt, spec, sign, body, '>');
}

std::string format_text(Runtime& rt, std::string_view text, const Spec& spec) {
  if (spec.precision >= 0) text = text.substr(0, byte_offset(text, static_cast<size_t>(spec.precision)));
  return pad(rt, spec, "", std::string(text), '<');
}

Spec parse_spec(Runtime& rt, std::string_view text) {
  Spec spec;
  const std::string_view aligns = "<>^=";
  size_t pos = 0;
  if (text.empty()) return spec;
  size_t after = 0;
  next_code_point(text, after);
  if (after < text.size() && aligns.find(text[after]) != kNowhere) {
    spec.fill = std::string(text.substr(0, after));
    spec.align = text[after];
    pos = after + 1;
  } else if (aligns.find(text[0]) != kNowhere) {
    spec.align = text[0];
    pos = 1;
  }
  const auto take = [&](char c) { return pos < text.size() && text[pos] == c ? (++pos, true) : false; };
  for (const char c : {'+', '-', ' '}) {
    if (take(c)) {
      spec.sign = c;
      break;
    }
  }
  spec.alternate = take('#');
  if (take('0') && spec.align == 0) {
    spec.align = '=';
    spec.fill = "0";
  }
  spec.width = read_number(rt, text, pos);
  spec.comma = take(',');
  if (take('.')) spec.precision = read_number(rt, text, pos);
  if (pos < text.size()) spec.type = text[pos++];
  if (pos != text.size() || (spec.type != 0 && std::string_view("bdeEfFgGosxX%").find(spec.type) == kNowhere)) {
    rt.fail("the format " + quote_text(text) + " is not supported");
  }
  if (spec.type == 'd') spec.type = 0;
  return spec;
}

std::string format_value(Runtime& rt, const Value& value, std::string_view spec_text) {
  if (spec_text.empty()) return to_str(rt, value);
  Spec spec = parse_spec(rt, spec_text);
  if (value.is_number() && spec.type != 's') {
    if (value.is(Kind::kBool) && spec.type == 0) return format_text(rt, to_str(rt, value), spec);
    return format_number(rt, value, spec);
  }
  if (!value.is_string()) rt.fail("unsupported format string passed to " + std::string(type_name(value)));
  if (spec.type != 0 && spec.type != 's') rt.fail(std::string("the format code '") + spec.type + "' needs a number");
  return format_text(rt, value.text(), spec);
}

// Reads "name.attribute[key]" against the arguments.
Value read_field(Runtime& rt, std::string_view field, const Args& args, size_t& next_index) {
  size_t pos = field.find_first_of(".[");
  const std::string_view first = field.substr(0, pos);
  Value value;
  const bool numbered = std::all_of(first.begin(), first.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (numbered) {
    size_t digits = 0;
    const size_t index = first.empty() ? next_index++ : static_cast<size_t>(read_number(rt, first, digits));
    if (index >= args.positional.size()) rt.fail("format has no argument " + std::to_string(index));
    value = args.positional[index];
  } else {
    const auto found =
        std::find_if(args.named.begin(), args.named.end(), [&](const auto& a) { return a.first == first; });
    if (found == args.named.end()) rt.fail("format has no argument " + quote_text(first));
    value = found->second;
  }
  while (pos < field.size()) {
    const bool is_item = field[pos] == '[';
    const size_t end = is_item ? field.find(']', pos) : field.find_first_of(".[", pos + 1);
    if (is_item && end == kNowhere) rt.fail("expected ']' in a format field");
    const std::string_view key = field.substr(pos + 1, end == kNowhere ? end : end - pos - 1);
    if (key.empty()) rt.fail("an empty attribute in a format field");
    size_t digits = 0;
    const bool is_number = std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
    value = !is_item    ? get_attribute(rt, value, key)
            : is_number ? get_item(rt, value, Value::integer(read_number(rt, key, digits)))
                        : get_item(rt, value, rt.string(key));
    pos = end == kNowhere ? field.size() : is_item ? end + 1 : end;
    if (pos < field.size() && field[pos] != '.' && field[pos] != '[')
      rt.fail("a bad format field " + quote_text(field));
  }
  return value;
}

}  // namespace

std::string format_braces(Runtime& rt, std::string_view text, const Args& args) {
  std::string out;
  size_t next_index = 0;
  for (size_t pos = 0; pos < text.size();) {
    rt.step(1);
    rt.check_size(out.size());
    const char c = text[pos];
    if (c != '{' && c != '}') {
      const size_t end = std::min(text.find_first_of("{}", pos), text.size());
      out += text.substr(pos, end - pos);
      pos = end;
      continue;
    }
    if (pos + 1 < text.size() && text[pos + 1] == c) {
      out += c;
      pos += 2;
      continue;
    }
    if (c == '}') rt.fail("Single '}' encountered in format string");
    const size_t end = text.find_first_of("{}", pos + 1);
    if (end == kNowhere) rt.fail("expected '}' before end of string");
    if (text[end] == '{') rt.fail("nested fields in format strings are not supported");
    std::string_view field = text.substr(pos + 1, end - pos - 1);
    std::string_view spec;
    if (const size_t colon = field.find(':'); colon != kNowhere) {
      spec = field.substr(colon + 1);
      field = field.substr(0, colon);
    }
    char conversion = 0;
    if (const size_t mark = field.find('!'); mark != kNowhere) {
      if (mark + 2 != field.size()) rt.fail("a bad conversion in a format string");
      conversion = field[mark + 1];
      field = field.substr(0, mark);
    }
    Value value = read_field(rt, field, args, next_index);
    if (conversion == 'r' || conversion == 'a') {
      std::string shown;
      append_repr(rt, shown, value);
      value = rt.string(std::move(shown));
    } else if (conversion == 's') {
      value = rt.string(to_str(rt, value));
    } else if (conversion != 0) {
      rt.fail("a bad conversion in a format string");
    }
    out += format_value(rt, value, spec);
    pos = end + 1;
  }
  rt.check_size(out.size());
  return out;
}

namespace {

// One conversion of a %-format: flags, width, precision, type.
std::string convert_percent(Runtime& rt, Spec spec, char type, const Value& value) {
  if (type == 's' || type == 'r' || type == 'a') {
    std::string shown;
    if (type == 's') {
      append_str(rt, shown, value);
    } else {
      append_repr(rt, shown, value);
    }
    if (spec.align == 0 || spec.align == '=') spec.align = '>';
    spec.fill = " ";
    return format_text(rt, shown, spec);
  }
  if (type == 'c' && value.is_string() && count_code_points(value.text()) == 1) {
    return format_text(rt, value.text(), spec);
  }
  if (value.is_undefined()) rt.fail(value.undefined_message());
  if (!value.is_number()) rt.fail(std::string("%") + type + " format: a number is required, not " + type_name(value));
  const bool integral = std::string_view("diuxXo").find(type) != kNowhere;
  if (!integral && std::string_view("eEfFgG").find(type) == kNowhere) {
    rt.fail(std::string("unsupported format character '") + type + "'");
  }
  spec.type = type == 'd' || type == 'i' || type == 'u' ? 0 : type;
  if (!integral) return format_number(rt, value, spec);
  spec.precision = -1;
  if (value.is(Kind::kFloat)) {
    const double number = std::trunc(value.as_double());
    if (!(std::fabs(number) < 9.2e18) || spec.type != 0) rt.fail("an integer is required by a %-format");
    return format_number(rt, Value::integer(static_cast<int64_t>(number)), spec);
  }
  return format_number(rt, Value::integer(value.as_int()), spec);
}

}  // namespace

std::string format_percent(Runtime& rt, std::string_view text, const Value& values) {
  std::string out;
  size_t used = 0;
  const bool several = values.is(Kind::kTuple);
  for (size_t pos = 0; pos < text.size();) {
    rt.step(1);
    rt.check_size(out.size());
    if (text[pos] != '%') {
      const size_t end = std::min(text.find('%', pos), text.size());
      out += text.substr(pos, end - pos);
      pos = end;
      continue;
    }
    ++pos;
    const Value* value = nullptr;
    if (pos < text.size() && text[pos] == '(') {
      const size_t end = text.find(')', pos);
      if (end == kNowhere) rt.fail("incomplete format key");
      if (!values.is_dict()) rt.fail("format requires a mapping");
      value = values.dict().find(text.substr(pos + 1, end - pos - 1));
      if (value == nullptr)
        rt.fail("the format's key " + quote_text(text.substr(pos + 1, end - pos - 1)) + " is missing");
      pos = end + 1;
    }
    Spec spec;
    for (; pos < text.size() && std::string_view("-+ 0#").find(text[pos]) != kNowhere; ++pos) {
      const char flag = text[pos];
      if (flag == '-') {
        spec.align = '<';
        spec.fill = " ";
      } else if (flag == '0') {
        if (spec.align != '<') spec.align = '=', spec.fill = "0";
      } else if (flag == '#') {
        spec.alternate = true;
      } else if (spec.sign != '+') {
        spec.sign = flag;
      }
    }
    spec.width = read_number(rt, text, pos);
    if (pos < text.size() && text[pos] == '.') {
      ++pos;
      spec.precision = read_number(rt, text, pos);
    }
    if (pos >= text.size()) rt.fail("incomplete format");
    const char type = text[pos++];
    if (type == '%') {
      out += '%';
      continue;
    }
    if (value == nullptr) {
      const size_t available = several ? values.items().size() : 1;
      if (used >= available) rt.fail("not enough arguments for format string");
      value = several ? &values.items()[used] : &values;
      ++used;
    }
    out += convert_percent(rt, spec, type, *value);
  }
  const bool mapping_like = values.is_dict() || values.is(Kind::kList) || values.is_undefined();  // CPython's notion
  if (several ? used < values.items().size() : used == 0 && !mapping_like) {
    rt.fail("not all arguments converted during string formatting");
  }
  rt.check_size(out.size());
  return out;
}

}  // namespace throughline::jinja

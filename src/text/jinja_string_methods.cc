#include "text/jinja_string_methods.h"

#include <algorithm>

#include "text/jinja_format.h"
#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

using Method = Value (*)(Runtime&, const Value& self, std::string_view name, const Args&);

Value method_case(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound none(rt, name, args, {});
  const std::string& text = self.text();
  rt.scan(text.size() * 8);
  if (name == "upper") return rt.string(upper(text));
  if (name == "lower" || name == "casefold") return rt.string(lower(text));
  if (name == "title") return rt.string(title(text));
  if (name == "swapcase") return rt.string(swapcase(text));
  return rt.string(capitalize(text));
}

Value method_strip(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"chars"});
  const bool left = name != "rstrip", right = name != "lstrip";
  rt.scan(self.text().size());
  if (!bound.given(0)) return rt.string(strip(self.text(), left, right));
  const std::string& chars = rt.as_text(bound[0], "strip's argument");
  rt.charge(chars.size() * 8);
  return rt.string(strip_chars(self.text(), chars, left, right));
}

Values split_space(Runtime& rt, std::string_view text, int64_t most) {
  Values parts;
  text = strip(text, true, false);
  while (!text.empty()) {
    rt.charge(sizeof(Value));
    if (most >= 0 && static_cast<int64_t>(parts.size()) >= most) {
      parts.push_back(rt.string(text));
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      size_t next = end;
      if (is_space(next_code_point(text, next))) break;
      end = next;
    }
    parts.push_back(rt.string(text.substr(0, end)));
    text = strip(text.substr(end), true, false);
  }
  return parts;
}

Values rsplit_space(Runtime& rt, std::string_view text, int64_t most) {
  Values parts;
  text = strip(text, false, true);
  while (!text.empty()) {
    rt.charge(sizeof(Value));
    if (most >= 0 && static_cast<int64_t>(parts.size()) >= most) {
      parts.push_back(rt.string(text));
      break;
    }
    size_t begin = text.size();
    while (begin > 0) {
      size_t start = begin - 1;
      while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
      size_t read = start;
      if (is_space(next_code_point(text, read))) break;
      begin = start;
    }
    parts.push_back(rt.string(text.substr(begin)));
    text = strip(text.substr(0, begin), false, true);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Value method_split(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"sep", "maxsplit"});
  const int64_t most = bound.index(1, -1, "maxsplit");
  std::string_view text = self.text();
  const bool from_right = name == "rsplit";
  rt.scan(text.size() * 4);
  if (!bound.given(0)) return rt.list(from_right ? rsplit_space(rt, text, most) : split_space(rt, text, most));
  const std::string& separator = rt.as_text(bound[0], "the separator");
  if (separator.empty()) rt.fail("empty separator");
  Values parts;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == kNowhere) break;
    rt.charge(sizeof(Value));
    if (from_right) {
      parts.push_back(rt.string(text.substr(at + separator.size())));
      text = text.substr(0, at);
    } else {
      parts.push_back(rt.string(text.substr(0, at)));
      text = text.substr(at + separator.size());
    }
  }
  parts.push_back(rt.string(text));
  if (from_right) std::reverse(parts.begin(), parts.end());
  return rt.list(std::move(parts));
}

Value method_split_lines(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"keepends"});
  rt.charge(self.text().size() * 16);
  Values lines;
  for (const std::string_view line : split_lines(self.text(), bound.flag(0, false))) {
    rt.charge(sizeof(Value));
    lines.push_back(rt.string(line));
  }
  return rt.list(std::move(lines));
}

Value method_partition(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"sep"}, 1);
  const std::string& separator = rt.as_text(bound[0], "the separator");
  if (separator.empty()) rt.fail("empty separator");
  const std::string_view text = self.text();
  rt.scan(text.size() * 4);
  const bool from_right = name == "rpartition";
  const size_t at = from_right ? text.rfind(separator) : text.find(separator);
  if (at == kNowhere) {
    if (from_right) return rt.tuple({rt.string(""), rt.string(""), self});
    return rt.tuple({self, rt.string(""), rt.string("")});
  }
  return rt.tuple({rt.string(text.substr(0, at)), bound[0], rt.string(text.substr(at + separator.size()))});
}

Value method_replace(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"old", "new", "count"}, 2);
  return rt.string(replace_text(rt, self.text(), rt.as_text(bound[0], "replace's argument"),
                                rt.as_text(bound[1], "replace's argument"), bound.index(2, -1, "count")));
}

// The part of the text between code points [start, end), and the bytes before it; nullopt when start is beyond the end.
struct Window {
  std::string_view text;
  size_t begin;
};
std::optional<Window> window(Runtime& rt, const Value& self, const Bound& bound) {
  const std::string_view text = self.text();
  if (!bound.given(1) && !bound.given(2)) return Window{text, 0};
  const int64_t length = rt.length(self);
  const auto clip = [&](size_t i, int64_t otherwise) {
    if (!bound.given(i)) return otherwise;
    const int64_t at = rt.as_index(bound[i], "a position");
    return at < 0 ? std::max<int64_t>(std::max(at, -length) + length, 0) : at;
  };
  const int64_t start = clip(1, 0), end = std::min(clip(2, length), length);
  if (start > length || end < start) return std::nullopt;
  rt.scan(text.size());
  const size_t begin = byte_offset(text, static_cast<size_t>(start));
  return Window{text.substr(begin, byte_offset(text, static_cast<size_t>(end)) - begin), begin};
}

Value method_starts(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"prefix", "start", "end"}, 1);
  const auto part = window(rt, self, bound);
  const auto matches = [&](const Value& affix) {
    const std::string& text = rt.as_text(affix, name == "startswith" ? "startswith's argument" : "endswith's argument");
    if (!part || part->text.size() < text.size()) return false;
    rt.scan(text.size());
    const size_t at = name == "startswith" ? 0 : part->text.size() - text.size();
    return part->text.compare(at, text.size(), text) == 0;
  };
  if (!bound[0].is(Kind::kTuple)) return Value::boolean(matches(bound[0]));
  const Values& any = bound[0].items();
  return Value::boolean(std::any_of(any.begin(), any.end(), matches));
}

Value method_find(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"sub", "start", "end"}, 1);
  const std::string& wanted = rt.as_text(bound[0], "the text to find");
  const auto part = window(rt, self, bound);
  rt.scan(self.text().size() * 4);
  if (name == "count") {
    int64_t count = 0;
    if (part && wanted.empty()) return Value::integer(static_cast<int64_t>(count_code_points(part->text)) + 1);
    for (size_t at = 0; part && (at = part->text.find(wanted, at)) != kNowhere; at += wanted.size()) ++count;
    return Value::integer(count);
  }
  const bool from_right = name[0] == 'r';
  const size_t at = !part ? kNowhere : from_right ? part->text.rfind(wanted) : part->text.find(wanted);
  if (at != kNowhere) {
    return Value::integer(
        static_cast<int64_t>(count_code_points(std::string_view(self.text()).substr(0, part->begin + at))));
  }
  if (name == "index" || name == "rindex") rt.fail("substring not found");
  return Value::integer(-1);
}

Value method_join(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"iterable"}, 1);
  std::string out;
  bool first = true;
  for (const Value& item : rt.iterate(bound[0])) {
    if (!item.is_string()) rt.fail("join expects strings, found '" + std::string(type_name(item)) + "'");
    rt.step(1);
    rt.check_size(out.size() + self.text().size() + item.text().size());
    if (!std::exchange(first, false)) out += self.text();
    out += item.text();
  }
  return rt.string(std::move(out));
}

Value method_is(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound none(rt, name, args, {});
  const std::string& text = self.text();
  rt.scan(text.size() * 8);
  if (name == "isascii") {
    return Value::boolean(
        std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; }));
  }
  const bool by_case = name == "isupper" || name == "islower";
  bool any_cased = false;
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = next_code_point(text, pos);
    if (by_case) {
      if (name == "isupper" ? is_lower(c) : is_upper(c)) return Value::boolean(false);
      any_cased = any_cased || is_upper(c) || is_lower(c);
      continue;
    }
    const bool good = name == "isspace"   ? is_space(c)
                      : name == "isalpha" ? is_letter(c)
                      : name == "isalnum" ? is_letter(c) || is_digit(c)
                                          : is_digit(c);
    if (!good) return Value::boolean(false);
  }
  return Value::boolean(by_case ? any_cased : !text.empty());
}

Value method_pad(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"width", "fillchar"}, 1);
  const int64_t width = rt.as_index(bound[0], "the width");
  const std::string_view fill = bound.has(1) ? std::string_view(rt.as_text(bound[1], "the fill")) : " ";
  if (count_code_points(fill) != 1) rt.fail("The fill character must be exactly one character long");
  return rt.string(pad_text(rt, self.text(), width, fill, name == "ljust" ? 0.0 : name == "rjust" ? 1.0 : 0.5));
}

Value method_zfill(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"width"}, 1);
  const std::string& text = self.text();
  const bool sign = !text.empty() && (text[0] == '-' || text[0] == '+');
  const int64_t width = rt.as_index(bound[0], "the width") - (sign ? 1 : 0);
  return rt.string((sign ? text.substr(0, 1) : "") + pad_text(rt, text.substr(sign ? 1 : 0), width, "0", 1.0));
}

Value method_remove(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Bound bound(rt, name, args, {"affix"}, 1);
  const std::string& affix = rt.as_text(bound[0], "the argument");
  const std::string_view text = self.text();
  if (affix.empty() || text.size() < affix.size()) return self;
  if (name == "removeprefix") {
    return text.substr(0, affix.size()) == affix ? rt.string(text.substr(affix.size())) : self;
  }
  const size_t rest = text.size() - affix.size();
  return text.substr(rest) == affix ? rt.string(text.substr(0, rest)) : self;
}

Value method_format(Runtime& rt, const Value& self, std::string_view, const Args& args) {
  return rt.string(format_braces(rt, self.text(), args));
}

constexpr std::pair<std::string_view, Method> kMethods[] = {{"strip", method_strip},
                                                            {"lstrip", method_strip},
                                                            {"rstrip", method_strip},
                                                            {"split", method_split},
                                                            {"startswith", method_starts},
                                                            {"endswith", method_starts},
                                                            {"replace", method_replace},
                                                            {"upper", method_case},
                                                            {"lower", method_case},
                                                            {"title", method_case},
                                                            {"capitalize", method_case},
                                                            {"swapcase", method_case},
                                                            {"casefold", method_case},
                                                            {"rsplit", method_split},
                                                            {"splitlines", method_split_lines},
                                                            {"partition", method_partition},
                                                            {"rpartition", method_partition},
                                                            {"find", method_find},
                                                            {"rfind", method_find},
                                                            {"index", method_find},
                                                            {"rindex", method_find},
                                                            {"count", method_find},
                                                            {"join", method_join},
                                                            {"format", method_format},
                                                            {"isspace", method_is},
                                                            {"isalpha", method_is},
                                                            {"isalnum", method_is},
                                                            {"isdigit", method_is},
                                                            {"isnumeric", method_is},
                                                            {"isdecimal", method_is},
                                                            {"isupper", method_is},
                                                            {"islower", method_is},
                                                            {"isascii", method_is},
                                                            {"ljust", method_pad},
                                                            {"rjust", method_pad},
                                                            {"center", method_pad},
                                                            {"zfill", method_zfill},
                                                            {"removeprefix", method_remove},
                                                            {"removesuffix", method_remove}};

}  // namespace

std::string replace_text(Runtime& rt, std::string_view text, std::string_view from, std::string_view to,
                         int64_t count) {
  std::string out;
  rt.scan(text.size() * 4);
  size_t pos = 0;
  if (from.empty()) {  // between all code points
    while (count != 0) {
      rt.check_size(out.size() + to.size());
      out += to;
      --count;
      if (pos >= text.size()) return out;
      size_t next = pos;
      next_code_point(text, next);
      out += text.substr(pos, next - pos);
      pos = next;
    }
    return out += text.substr(pos);
  }
  while (count != 0) {
    const size_t at = text.find(from, pos);
    if (at == kNowhere) break;
    rt.check_size(out.size() + at - pos + to.size());
    out += text.substr(pos, at - pos);
    out += to;
    pos = at + from.size();
    --count;
  }
  return out += text.substr(pos);
}

std::string pad_text(Runtime& rt, std::string_view text, int64_t width, std::string_view fill, double left_share) {
  const auto length = static_cast<int64_t>(count_code_points(text));
  if (width <= length) return std::string(text);
  const int64_t missing = width - length;
  rt.check_size(text.size() + static_cast<size_t>(std::min<int64_t>(missing, int64_t{1} << 40)) * fill.size());
  int64_t left = left_share == 1.0 ? missing : 0;
  if (left_share == 0.5) left = missing / 2 + (missing & width & 1);  // CPython's rounding
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

bool is_string_method(std::string_view name) {
  return std::any_of(std::begin(kMethods), std::end(kMethods), [&](const auto& entry) { return entry.first == name; });
}

bool is_unsupported_string_method(std::string_view name) {
  static constexpr std::string_view kNames[] = {"encode",      "expandtabs", "format_map", "isidentifier",
                                                "isprintable", "istitle",    "maketrans",  "translate"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

Value call_string_method(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  for (const auto& [known, method] : kMethods) {
    if (known == name) return method(rt, self, known, args);
  }
  rt.fail("there is no method str." + std::string(name));
}

}  // namespace throughline::jinja

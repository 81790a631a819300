// The tests of jinja2 (`x is defined`), all of them.
#include <algorithm>

#include "text/jinja_filters.h"
#include "text/jinja_operators.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

using Test = bool (*)(Runtime&, const Value& value, const Value& other);
struct TestEntry {
  std::string_view name;
  bool takes_other;
  Test test;
};

bool remainder_is(Runtime& rt, const Value& value, const Value& divisor, int64_t wanted) {
  return equals(arithmetic(rt, "%", value, divisor), Value::integer(wanted));
}

bool same(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  if (a.is_sequence() || a.is_dict()) return a.identity() == b.identity();
  return equals(a, b);
}

bool is_sequence(const Value& value) {
  if (!value.is(Kind::kObject)) {
    return value.is_undefined() || value.is_string() || value.is_sequence() || value.is_dict();
  }
  return value.object()->kind == ObjectKind::kRange;
}

bool is_callable(const Value& value) {
  if (value.is_undefined()) return true;
  if (!value.is(Kind::kObject)) return false;
  switch (value.object()->kind) {
    case ObjectKind::kMacro:
    case ObjectKind::kMethod:
    case ObjectKind::kFunction:
    case ObjectKind::kJoiner:
    case ObjectKind::kLoop:
      return true;
    default:
      return false;
  }
}

bool has_case(Runtime& rt, const Value& value, bool upper_case) {
  const std::string text = to_str(rt, value);
  rt.scan(text.size() * 8);
  bool any = false;
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = next_code_point(text, pos);
    if (upper_case ? is_lower(c) : is_upper(c)) return false;
    any = any || is_upper(c) || is_lower(c);
  }
  return any;
}

using R = Runtime;
using V = Value;
constexpr TestEntry kTests[] = {
    {"boolean", false, [](R&, const V& v, const V&) { return v.is(Kind::kBool); }},
    {"callable", false, [](R&, const V& v, const V&) { return is_callable(v); }},
    {"defined", false, [](R&, const V& v, const V&) { return !v.is_undefined(); }},
    {"undefined", false, [](R&, const V& v, const V&) { return v.is_undefined(); }},
    {"divisibleby", true, [](R& rt, const V& v, const V& o) { return remainder_is(rt, v, o, 0); }},
    {"escaped", false, [](R&, const V& v, const V&) { return v.is_markup(); }},
    {"even", false, [](R& rt, const V& v, const V&) { return remainder_is(rt, v, V::integer(2), 0); }},
    {"odd", false, [](R& rt, const V& v, const V&) { return remainder_is(rt, v, V::integer(2), 1); }},
    {"false", false, [](R&, const V& v, const V&) { return v.is(Kind::kBool) && !v.as_bool(); }},
    {"true", false, [](R&, const V& v, const V&) { return v.is(Kind::kBool) && v.as_bool(); }},
    {"filter", false, [](R&, const V& v, const V&) { return v.is_string() && is_filter(v.text()); }},
    {"test", false, [](R&, const V& v, const V&) { return v.is_string() && is_test(v.text()); }},
    {"float", false, [](R&, const V& v, const V&) { return v.is(Kind::kFloat); }},
    {"in", true, [](R& rt, const V& v, const V& o) { return rt.contains(o, v); }},
    {"integer", false, [](R&, const V& v, const V&) { return v.is(Kind::kInt); }},
    {"iterable", false, [](R& rt, const V& v, const V&) { return rt.is_iterable(v); }},
    {"lower", false, [](R& rt, const V& v, const V&) { return has_case(rt, v, false); }},
    {"upper", false, [](R& rt, const V& v, const V&) { return has_case(rt, v, true); }},
    {"mapping", false, [](R&, const V& v, const V&) { return v.is_dict(); }},
    {"none", false, [](R&, const V& v, const V&) { return v.is_none(); }},
    {"number", false, [](R&, const V& v, const V&) { return v.is_number(); }},
    {"sameas", true, [](R&, const V& v, const V& o) { return same(v, o); }},
    {"sequence", false, [](R&, const V& v, const V&) { return is_sequence(v); }},
    {"string", false, [](R&, const V& v, const V&) { return v.is_string(); }},
    {"eq", true, [](R& rt, const V& v, const V& o) { return rt.equal(v, o); }},
    {"ne", true, [](R& rt, const V& v, const V& o) { return !rt.equal(v, o); }},
    {"lt", true, [](R& rt, const V& v, const V& o) { return rt.compare(v, o, "<") == -1; }},
    {"gt", true, [](R& rt, const V& v, const V& o) { return rt.compare(v, o, ">") == 1; }},
    {"le", true, [](R& rt, const V& v, const V& o) { return rt.compare(v, o, "<=") <= 0; }},
    {"ge", true, [](R& rt, const V& v, const V& o) {
       const int c = rt.compare(v, o, ">=");
       return c == 0 || c == 1;
     }}};

const TestEntry* find_test(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
      {"==", "eq"}, {"equalto", "eq"}, {"!=", "ne"},          {"<", "lt"}, {"lessthan", "lt"},
      {">", "gt"},  {"<=", "le"},      {"greaterthan", "gt"}, {">=", "ge"}};
  for (const auto& [alias, real] : kAliases) {
    if (name == alias) name = real;
  }
  for (const TestEntry& entry : kTests) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace

bool is_test(std::string_view name) { return find_test(name) != nullptr; }

bool apply_test(Runtime& rt, std::string_view name, const Value& input, const Args& args) {
  rt.step(1);
  const TestEntry* entry = find_test(name);
  if (entry == nullptr) rt.fail("there is no test named " + quote_text(name));
  if (!entry->takes_other) {
    const Bound none(rt, name, args, {});
    return entry->test(rt, input, Value());
  }
  const Bound bound(rt, name, args, {"other"}, 1);
  return entry->test(rt, input, bound[0]);
}

}  // namespace throughline::jinja

#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>

#include "text/jinja_runtime.h"

namespace throughline::jinja {

Value Value::undefined(std::string message) {
  Value v(Kind::kUndefined);
  v.shared_ = std::make_shared<const Str>(Str{std::move(message), false});
  return v;
}
Value Value::boolean(bool b) {
  Value v(Kind::kBool);
  v.integer_ = b ? 1 : 0;
  return v;
}
Value Value::integer(int64_t i) {
  Value v(Kind::kInt);
  v.integer_ = i;
  return v;
}
Value Value::real(double d) {
  Value v(Kind::kFloat);
  v.real_ = d;
  return v;
}
Value Value::object(Object* object) {
  Value v(Kind::kObject);
  v.object_ = object;
  return v;
}
Value Value::string(std::string text, bool markup) {
  Value v(Kind::kString);
  v.shared_ = std::make_shared<const Str>(Str{std::move(text), markup});
  return v;
}
Value Value::sequence(Kind list_or_tuple, std::shared_ptr<const Sequence> items) {
  Value v(list_or_tuple);
  v.shared_ = std::move(items);
  return v;
}
Value Value::dict(std::shared_ptr<const Dict> dict) {
  Value v(Kind::kDict);
  v.shared_ = std::move(dict);
  return v;
}

const Values& Value::items() const { return seq().items; }

std::string Value::undefined_message() const { return shared_ ? text() : "value is undefined"; }

int Value::depth() const {
  if (is_sequence()) return seq().depth;
  return is_dict() ? dict().depth : 0;
}

int64_t Value::weight() const {
  if (is_sequence()) return seq().weight;
  if (is_dict()) return dict().weight;
  return is_string() ? 1 + static_cast<int64_t>(text().size() / 64) : 1;
}

namespace {

int rank(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kNone:
      return 1;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return 2;
    case Kind::kString:
      return 3;
    case Kind::kTuple:
      return 4;
    default:
      return 5;
  }
}

int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int();
  const long double x = a.is_integral() ? static_cast<long double>(a.as_int()) : a.as_double();
  const long double y = b.is_integral() ? static_cast<long double>(b.as_int()) : b.as_double();
  if (std::isnan(x) || std::isnan(y)) return static_cast<int>(std::isnan(y)) - static_cast<int>(std::isnan(x));
  return x < y ? -1 : x > y;
}

int compare_keys(const Value& a, const Value& b) {
  if (rank(a) != rank(b)) return rank(a) < rank(b) ? -1 : 1;
  switch (rank(a)) {
    case 2:
      return compare_numbers(a, b);
    case 3:
      return a.text().compare(b.text());
    case 4: {
      if (a.identity() == b.identity()) return 0;
      const size_t common = std::min(a.items().size(), b.items().size());
      for (size_t i = 0; i < common; ++i) {
        if (const int order = compare_keys(a.items()[i], b.items()[i])) return order;
      }
      return a.items().size() < b.items().size() ? -1 : a.items().size() > b.items().size();
    }
    case 5:
      return std::less<>()(a.object(), b.object()) ? -1 : a.object() != b.object();
    default:
      return 0;
  }
}

constexpr size_t kLinearSearch = 8;  // entries; a message has fewer keys than this

}  // namespace

bool KeyLess::operator()(const Value& a, const Value& b) const { return compare_keys(a, b) < 0; }

bool hashable(const Value& value) {
  if (value.is(Kind::kList) || value.is_dict()) return false;
  if (!value.is(Kind::kTuple)) return true;
  return std::all_of(value.items().begin(), value.items().end(), hashable);
}

const Value* Dict::find(const Value& key) const {
  if (!index_.empty()) {
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : &entries_[found->second].second;
  }
  for (const Entry& entry : entries_) {
    if (compare_keys(entry.first, key) == 0) return &entry.second;
  }
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  if (!index_.empty()) return find(Value::string(std::string(key)));
  for (const Entry& entry : entries_) {
    if (entry.first.is_string() && entry.first.text() == key) return &entry.second;
  }
  return nullptr;
}

void Dict::set(Value key, Value value) {
  depth = std::max({depth, key.depth() + 1, value.depth() + 1});
  weight += key.weight() + value.weight();
  if (const Value* old = find(key)) {
    *const_cast<Value*>(old) = std::move(value);
    return;
  }
  entries_.emplace_back(std::move(key), std::move(value));
  if (!index_.empty()) {
    index_.emplace(entries_.back().first, entries_.size() - 1);
  } else if (entries_.size() > kLinearSearch) {
    for (size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].first, i);
  }
}

bool equals(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::kFloat) && std::isnan(a.as_double())) return false;
    return compare_numbers(a, b) == 0;
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kString:
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
      return a.identity() == b.identity() ||
             std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), equals);
    case Kind::kDict: {
      if (a.identity() == b.identity()) return true;
      if (a.dict().size() != b.dict().size()) return false;
      for (const auto& [key, value] : a.dict().entries()) {
        const Value* other = b.dict().find(key);
        if (other == nullptr || !equals(value, *other)) return false;
      }
      return true;
    }
    case Kind::kObject: {
      const auto* x = a.object_if<RangeObject>(ObjectKind::kRange);
      const auto* y = b.object_if<RangeObject>(ObjectKind::kRange);
      if (x == nullptr || y == nullptr) return a.object() == b.object();
      if (x->size != y->size) return false;
      return x->size == 0 || (x->start == y->start && (x->size == 1 || x->step == y->step));
    }
    default:
      return true;  // None, Undefined
  }
}

const char* type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return value.is_markup() ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kObject:
      break;
  }
  switch (value.object()->kind) {
    case ObjectKind::kNamespace:
      return "Namespace";
    case ObjectKind::kRange:
      return "range";
    case ObjectKind::kIterator:
      return "generator";
    case ObjectKind::kView:
      return static_cast<const ViewObject*>(value.object())->type;
    case ObjectKind::kLoop:
      return "LoopContext";
    case ObjectKind::kMacro:
      return "Macro";
    case ObjectKind::kMethod:
      return "builtin_function_or_method";
    case ObjectKind::kFunction:
      return "function";
    case ObjectKind::kCycler:
      return "Cycler";
    case ObjectKind::kJoiner:
      return "Joiner";
  }
  return "object";
}

}  // namespace throughline::jinja

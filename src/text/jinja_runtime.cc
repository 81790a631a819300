#include "text/jinja_runtime.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja_text.h"

namespace throughline::jinja {

Value* NamespaceObject::find(std::string_view name) {
  for (auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string quote_text(std::string_view text) {
  constexpr size_t kShown = 60;  // bytes
  if (text.size() <= kShown) return string_repr(text);
  size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return string_repr(text.substr(0, end)) + "...";
}

void Runtime::fail(std::string message, std::string remedy) const {
  throw TemplateError{std::move(message), line, std::move(remedy)};
}

void Runtime::fail_steps() const {
  fail("the template takes more than " + std::to_string(limits_.steps) + " steps",
       "shorten the conversation or simplify the template");
}

void Runtime::charge(size_t bytes) {
  step(static_cast<int64_t>(bytes / 256));
  memory_used_ += bytes;
  if (memory_used_ > limits_.memory_bytes) {
    fail("the template makes more than " + std::to_string(limits_.memory_bytes >> 20) + " MiB of values");
  }
}

void Runtime::check_size(size_t bytes) const {
  if (bytes > limits_.output_bytes) {
    fail("the template makes a text longer than " + std::to_string(limits_.output_bytes) + " bytes");
  }
}

Value Runtime::string(std::string text, bool markup) {
  check_size(text.size());
  charge(text.size() + 48);
  return Value::string(std::move(text), markup);
}

Value Runtime::sequence(Kind kind, Values items, bool named) {
  charge(items.size() * sizeof(Value) + 64);
  auto made = std::make_shared<Sequence>();
  for (const Value& item : items) {
    made->depth = std::max(made->depth, item.depth() + 1);
    made->weight += item.weight();
  }
  made->items = std::move(items);
  made->named = named;
  if (made->depth > kNestingLimit) fail("lists nested deeper than " + std::to_string(kNestingLimit) + " levels");
  if (made->weight > kWeightLimit) fail("a list with more than " + std::to_string(kWeightLimit) + " parts");
  return Value::sequence(kind, std::move(made));
}

Value Runtime::dict(Dict dict) {
  if (dict.depth > kNestingLimit) fail("dicts nested deeper than " + std::to_string(kNestingLimit) + " levels");
  if (dict.weight > kWeightLimit) fail("a dict with more than " + std::to_string(kWeightLimit) + " parts");
  charge(64);
  return Value::dict(std::make_shared<const Dict>(std::move(dict)));
}

void Runtime::set(Dict& dict, Value key, Value value) {
  if (!hashable(key)) fail("unhashable type: '" + std::string(type_name(key)) + "'");
  step(1 + key.weight() / 4);
  charge(3 * sizeof(Value) + 48);
  dict.set(std::move(key), std::move(value));
}

Value Runtime::from_json(const Json& json, int depth) {
  if (depth > kNestingLimit) fail("input nested deeper than " + std::to_string(kNestingLimit) + " levels");
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case Json::value_t::number_unsigned: {
      const auto number = json.get<uint64_t>();
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        fail("the number " + std::to_string(number) + " is larger than 2^63 - 1", "give it as a string");
      }
      return Value::integer(static_cast<int64_t>(number));
    }
    case Json::value_t::number_float:
      return Value::real(json.get<double>());
    case Json::value_t::string:
      return string(make_valid_utf8(json.get_ref<const std::string&>()));
    case Json::value_t::array: {
      Values items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(from_json(item, depth + 1));
      return list(std::move(items));
    }
    case Json::value_t::object: {
      Dict made;
      for (const auto& [key, item] : json.items()) {
        set(made, string(make_valid_utf8(key)), from_json(item, depth + 1));
      }
      return dict(std::move(made));
    }
    default:
      return Value::none();
  }
}

bool Runtime::truthy(const Value& value) const {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_double() != 0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.items().empty();
    case Kind::kDict:
      return value.dict().size() != 0;
    case Kind::kObject:
      break;
  }
  if (const auto* range = value.object_if<RangeObject>(ObjectKind::kRange)) return range->size != 0;
  if (const auto* view = value.object_if<ViewObject>(ObjectKind::kView)) return !view->items.empty();
  return true;
}

bool Runtime::equal(const Value& a, const Value& b) {
  step(1 + std::min(a.weight(), b.weight()) / 4);
  return equals(a, b);
}

int Runtime::compare(const Value& a, const Value& b, const char* op) {
  step(1);
  for (const Value* side : {&a, &b}) {
    if (side->is_undefined()) fail(side->undefined_message());
  }
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int();
    const long double x = a.is_integral() ? static_cast<long double>(a.as_int()) : a.as_double();
    const long double y = b.is_integral() ? static_cast<long double>(b.as_int()) : b.as_double();
    if (std::isnan(x) || std::isnan(y)) return 2;  // unordered: every comparison is false
    return x < y ? -1 : x > y;
  }
  if (a.is_string() && b.is_string()) {
    scan(std::min(a.text().size(), b.text().size()));
    const int order = a.text().compare(b.text());  // UTF-8 sorts as its code points do
    return order < 0 ? -1 : order > 0;
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    const size_t common = std::min(a.items().size(), b.items().size());
    for (size_t i = 0; i < common; ++i) {
      if (!equal(a.items()[i], b.items()[i])) return compare(a.items()[i], b.items()[i], op);
    }
    return a.items().size() < b.items().size() ? -1 : a.items().size() > b.items().size();
  }
  fail("'" + std::string(op) + "' not supported between instances of '" + type_name(a) + "' and '" + type_name(b) +
       "'");
}

bool Runtime::is_iterable(const Value& value) const {
  switch (value.kind()) {
    case Kind::kNone:
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return false;
    case Kind::kObject:
      break;
    default:
      return true;
  }
  const ObjectKind kind = value.object()->kind;
  return kind == ObjectKind::kRange || kind == ObjectKind::kIterator || kind == ObjectKind::kView ||
         kind == ObjectKind::kLoop;
}

Values Runtime::iterate(const Value& value) {
  Values out;
  const auto copy = [&](const Values& items) {
    charge(items.size() * sizeof(Value));
    step(static_cast<int64_t>(items.size() / 16));
    out = items;
  };
  if (value.is_undefined()) return out;
  if (value.is_sequence()) {
    copy(value.items());
  } else if (value.is_string()) {
    const std::string& text = value.text();
    charge(text.size() * 80);  // before the memory is made: a Value and a shared string a character
    for (size_t pos = 0; pos < text.size();) {
      const size_t start = pos;
      next_code_point(text, pos);
      out.push_back(Value::string(text.substr(start, pos - start)));
    }
  } else if (value.is_dict()) {
    charge(value.dict().size() * sizeof(Value));
    for (const auto& entry : value.dict().entries()) out.push_back(entry.first);
  } else if (const auto* range = value.object_if<RangeObject>(ObjectKind::kRange)) {
    charge(static_cast<size_t>(range->size) * sizeof(Value));
    out.reserve(static_cast<size_t>(range->size));
    for (int64_t i = 0; i < range->size; ++i) out.push_back(Value::integer(range->at(i)));
  } else if (auto* iterator = value.object_if<IteratorObject>(ObjectKind::kIterator)) {
    charge((iterator->items.size() - iterator->next) * sizeof(Value));
    out.assign(iterator->items.begin() + static_cast<std::ptrdiff_t>(iterator->next), iterator->items.end());
    iterator->items.clear();
    iterator->next = 0;
  } else if (const auto* view = value.object_if<ViewObject>(ObjectKind::kView)) {
    copy(view->items);
  } else {
    fail("'" + std::string(type_name(value)) + "' object is not iterable");
  }
  return out;
}

int64_t Runtime::length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_string()) {
    scan(value.text().size());
    return static_cast<int64_t>(count_code_points(value.text()));
  }
  if (value.is_sequence()) return static_cast<int64_t>(value.items().size());
  if (value.is_dict()) return static_cast<int64_t>(value.dict().size());
  if (const auto* range = value.object_if<RangeObject>(ObjectKind::kRange)) return range->size;
  if (const auto* view = value.object_if<ViewObject>(ObjectKind::kView)) {
    return static_cast<int64_t>(view->items.size());
  }
  if (const auto* loop = value.object_if<LoopObject>(ObjectKind::kLoop)) {
    return static_cast<int64_t>(loop->items.size());
  }
  fail("object of type '" + std::string(type_name(value)) + "' has no len()");
}

bool Runtime::contains(const Value& container, const Value& item) {
  step(1);
  if (container.is_string()) {
    if (!item.is_string()) {
      fail("'in <string>' requires string as left operand, not " + std::string(type_name(item)));
    }
    scan(container.text().size() * 4);
    return container.text().find(item.text()) != kNowhere;
  }
  if (container.is_dict()) return lookup(container.dict(), item) != nullptr;
  if (const auto* range = container.object_if<RangeObject>(ObjectKind::kRange)) {
    if (!item.is_number() || item.as_double() != std::floor(item.as_double())) return false;
    step(range->size / 16);
    for (int64_t i = 0; i < range->size; ++i) {
      if (equals(Value::integer(range->at(i)), item)) return true;
    }
    return false;
  }
  const bool in_place = container.is_sequence();
  const Values copy = in_place ? Values() : iterate(container);
  const Values& items = in_place ? container.items() : copy;
  return std::any_of(items.begin(), items.end(), [&](const Value& each) { return equal(each, item); });
}

const Value* Runtime::lookup(const Dict& dict, const Value& key) {
  if (!hashable(key)) fail("unhashable type: '" + std::string(type_name(key)) + "'");
  step(1 + key.weight() / 4);
  return dict.find(key);
}

int64_t Runtime::as_index(const Value& value, const char* what) {
  if (value.is_integral()) return value.as_int();
  if (value.is_undefined()) fail(value.undefined_message());
  fail(std::string(what) + " must be an integer, not '" + type_name(value) + "'");
}

const std::string& Runtime::as_text(const Value& value, const char* what) {
  if (value.is_string()) return value.text();
  if (value.is_undefined()) fail(value.undefined_message());
  fail(std::string(what) + " must be a string, not '" + type_name(value) + "'");
}

Bound::Bound(Runtime& rt, std::string_view function, const Args& args, std::initializer_list<std::string_view> names,
             size_t required)
    : rt_(rt), values_(names.size(), nullptr) {
  const std::string label(function);
  if (args.positional.size() > names.size()) {
    rt.fail(label + "() takes at most " + std::to_string(names.size()) + " arguments (" +
            std::to_string(args.positional.size()) + " given)");
  }
  for (size_t i = 0; i < args.positional.size(); ++i) values_[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) rt.fail(label + "() got an unexpected keyword argument " + quote_text(name));
    const auto i = static_cast<size_t>(found - names.begin());
    if (values_[i] != nullptr) rt.fail(label + "() got multiple values for argument " + quote_text(name));
    values_[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (values_[i] == nullptr) {
      rt.fail(label + "() is missing the argument '" + std::string(names.begin()[i]) + "'");
    }
  }
}

}  // namespace throughline::jinja

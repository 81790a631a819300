#include "text/jinja_access.h"

#include <algorithm>
#include <limits>

#include "text/jinja_string_methods.h"
#include "text/jinja_text.h"

namespace throughline::jinja {
namespace {

constexpr std::string_view kDictMethods[] = {"get", "items", "keys", "values", "copy"};
constexpr std::string_view kListMethods[] = {"index", "count", "copy"};
constexpr std::string_view kMutators[] = {"append", "clear",   "extend", "insert",     "pop",    "popitem",
                                          "remove", "reverse", "sort",   "setdefault", "update", "fromkeys"};
constexpr std::string_view kNumberAttributes[] = {"real",      "imag",       "numerator",        "denominator",
                                                  "conjugate", "bit_length", "to_bytes",         "from_bytes",
                                                  "bit_count", "is_integer", "as_integer_ratio", "hex"};

template <size_t N>
bool one_of(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

std::string object_name(const Value& object) {
  return object.is_none() ? "None" : std::string(type_name(object)) + " object";
}

Value no_attribute(const Value& object, std::string_view name) {
  std::string shown(name.substr(0, 60));
  return Value::undefined("'" + object_name(object) + "' has no attribute " + quote_text(shown));
}

Value unsafe(const Value& object, std::string_view name) {
  return Value::undefined("access to attribute " + quote_text(name) + " of '" + type_name(object) +
                          "' object is unsafe: values cannot be changed in a chat template");
}

// Python has it, this engine does not: better refused than taken for undefined.
[[noreturn]] void fail_unsupported(Runtime& rt, const Value& object, std::string_view name) {
  rt.fail("the attribute " + std::string(type_name(object)) + "." + std::string(name) + " is not supported");
}

Value loop_attribute(Runtime& rt, const LoopObject& loop, const Value& self, std::string_view name) {
  const auto count = static_cast<int64_t>(loop.items.size());
  const auto item = [&](int64_t i, const char* none) {
    return i >= 0 && i < count ? loop.items[static_cast<size_t>(i)] : Value::undefined(none);
  };
  if (name == "index") return Value::integer(loop.index0 + 1);
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "last") return Value::boolean(loop.index0 + 1 >= count);
  if (name == "length") return Value::integer(count);
  if (name == "revindex") return Value::integer(count - loop.index0);
  if (name == "revindex0") return Value::integer(count - loop.index0 - 1);
  if (name == "previtem") return item(loop.index0 - 1, "there is no previous item");
  if (name == "nextitem") return item(loop.index0 + 1, "there is no next item");
  if (name == "depth") return Value::integer(loop.depth0 + 1);
  if (name == "depth0") return Value::integer(loop.depth0);
  if (name == "cycle" || name == "changed") return Value::object(rt.make<MethodObject>(self, std::string(name)));
  return no_attribute(self, name);
}

Value object_attribute(Runtime& rt, const Value& object, std::string_view name) {
  if (auto* space = object.object_if<NamespaceObject>(ObjectKind::kNamespace)) {
    rt.step(static_cast<int64_t>(space->attributes.size() / 8));
    if (const Value* found = space->find(name)) return *found;
  } else if (const auto* loop = object.object_if<LoopObject>(ObjectKind::kLoop)) {
    return loop_attribute(rt, *loop, object, name);
  } else if (const auto* cycler = object.object_if<CyclerObject>(ObjectKind::kCycler)) {
    if (name == "current") return cycler->items[cycler->position];
    if (name == "next" || name == "reset") return Value::object(rt.make<MethodObject>(object, std::string(name)));
  } else if (const auto* range = object.object_if<RangeObject>(ObjectKind::kRange)) {
    if (name == "start") return Value::integer(range->start);
    if (name == "stop") return Value::integer(range->stop);
    if (name == "step") return Value::integer(range->step);
    if (name == "index" || name == "count") fail_unsupported(rt, object, name);
  } else if (object.object()->kind == ObjectKind::kMacro) {
    constexpr std::string_view kNames[] = {"name", "arguments", "caller", "catch_kwargs", "catch_varargs"};
    if (one_of(kNames, name)) fail_unsupported(rt, object, name);
  }
  return no_attribute(object, name);
}

// A method or a field; nothing when the type has none of that name.
Value own_attribute(Runtime& rt, const Value& object, std::string_view name) {
  if (!name.empty() && name[0] == '_') return unsafe(object, name);
  if (has_method(object, name)) return Value::object(rt.make<MethodObject>(object, std::string(name)));
  switch (object.kind()) {
    case Kind::kString:
      if (is_unsupported_string_method(name)) fail_unsupported(rt, object, name);
      break;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      if (one_of(kNumberAttributes, name)) fail_unsupported(rt, object, name);
      break;
    case Kind::kTuple:
      if (object.seq().named && name == "grouper") return object.items()[0];
      if (object.seq().named && name == "list") return object.items()[1];
      break;
    case Kind::kList:
    case Kind::kDict:
      if (one_of(kMutators, name)) return unsafe(object, name);
      break;
    case Kind::kObject:
      return object_attribute(rt, object, name);
    default:
      break;
  }
  return no_attribute(object, name);
}

// Python's slice.indices: the first index, the step, and how many.
struct Indices {
  int64_t start, stop, step, count;
};
Indices slice_indices(Runtime& rt, int64_t length, const Value& start, const Value& stop, const Value& step) {
  const int64_t by = step.is_none() ? 1 : rt.as_index(step, "a slice step");
  if (by == 0) rt.fail("slice step cannot be zero");
  if (by == std::numeric_limits<int64_t>::min()) rt.fail("the slice step is out of range");
  const auto bound = [&](const Value& value, int64_t otherwise) {
    if (value.is_none()) return otherwise;
    int64_t i = rt.as_index(value, "a slice bound");
    if (i < 0) i = std::max<int64_t>(i, -length - 1) + length;
    return by > 0 ? std::clamp<int64_t>(i, 0, length) : std::clamp<int64_t>(i, -1, length - 1);
  };
  const int64_t first = bound(start, by > 0 ? 0 : length - 1);
  const int64_t last = bound(stop, by > 0 ? length : -1);
  const int64_t distance = by > 0 ? last - first : first - last;
  const int64_t stride = by > 0 ? by : -by;
  return {first, last, by, distance <= 0 ? 0 : (distance - 1) / stride + 1};
}

std::string slice_text(Runtime& rt, const std::string& text, const Indices& at) {
  rt.scan(text.size() * 4);
  if (at.step == 1) {
    const size_t begin = byte_offset(text, static_cast<size_t>(at.start));
    const std::string_view rest = std::string_view(text).substr(begin);
    return std::string(rest.substr(0, byte_offset(rest, static_cast<size_t>(at.count))));
  }
  std::vector<size_t> offsets;
  rt.charge(text.size() * sizeof(size_t));
  for (size_t pos = 0; pos < text.size();) {
    offsets.push_back(pos);
    next_code_point(text, pos);
  }
  offsets.push_back(text.size());
  std::string out;
  for (int64_t i = 0; i < at.count; ++i) {
    const auto k = static_cast<size_t>(at.start + i * at.step);
    out.append(text, offsets[k], offsets[k + 1] - offsets[k]);
  }
  return out;
}

Value call_dict_method(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  const Dict& dict = self.dict();
  if (name == "get") {
    const Bound bound(rt, name, args, {"key", "default"}, 1);
    const Value* found = rt.lookup(dict, bound[0]);
    return found != nullptr ? *found : bound.get(1, Value::none());
  }
  const Bound none(rt, name, args, {});
  if (name == "copy") return self;
  Values items;
  rt.charge(dict.size() * sizeof(Value));
  items.reserve(dict.size());
  for (const auto& [key, value] : dict.entries()) {
    items.push_back(name == "items" ? rt.tuple({key, value}) : name == "keys" ? key : value);
  }
  const char* type = name == "items" ? "dict_items" : name == "keys" ? "dict_keys" : "dict_values";
  return Value::object(rt.make<ViewObject>(type, std::move(items)));
}

Value call_list_method(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  if (name == "copy") {
    const Bound none(rt, name, args, {});
    return self;
  }
  const Bound bound(rt, name, args, {"value", "start", "stop"}, 1);
  const Values& items = self.items();
  if (name == "count") {
    int64_t count = 0;
    for (const Value& item : items) count += rt.equal(item, bound[0]) ? 1 : 0;
    return Value::integer(count);
  }
  const auto length = static_cast<int64_t>(items.size());
  const auto clip = [&](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? std::max(i, -length) + length : i, 0, length);
  };
  const int64_t stop = clip(bound.index(2, length, "stop"));
  for (int64_t i = clip(bound.index(1, 0, "start")); i < stop; ++i) {
    if (rt.equal(items[static_cast<size_t>(i)], bound[0])) return Value::integer(i);
  }
  rt.fail("the value is not in the " + std::string(type_name(self)));
}

Value call_object_method(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  if (auto* cycler = self.object_if<CyclerObject>(ObjectKind::kCycler)) {
    const Bound none(rt, name, args, {});
    if (name == "reset") {
      cycler->position = 0;
      return Value::none();
    }
    const Value item = cycler->items[cycler->position];
    cycler->position = (cycler->position + 1) % cycler->items.size();
    return item;
  }
  auto* loop = static_cast<LoopObject*>(self.object());
  if (!args.named.empty()) rt.fail("loop." + std::string(name) + "() takes no keyword arguments");
  if (name == "cycle") {
    if (args.positional.empty()) rt.fail("no items for cycling given");
    return args.positional[static_cast<size_t>(loop->index0) % args.positional.size()];
  }
  const bool same = loop->changed_called && loop->last_changed.size() == args.positional.size() &&
                    std::equal(args.positional.begin(), args.positional.end(), loop->last_changed.begin(),
                               [&](const Value& a, const Value& b) { return rt.equal(a, b); });
  loop->changed_called = true;
  loop->last_changed = args.positional;
  return Value::boolean(!same);
}

}  // namespace

bool has_method(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kString:
      return is_string_method(name);
    case Kind::kDict:
      return one_of(kDictMethods, name);
    case Kind::kList:
      return one_of(kListMethods, name);
    case Kind::kTuple:
      return name == "index" || name == "count";
    case Kind::kObject:
      if (object.object()->kind == ObjectKind::kCycler) return name == "next" || name == "reset";
      if (object.object()->kind == ObjectKind::kLoop) return name == "cycle" || name == "changed";
      return false;
    default:
      return false;
  }
}

Value call_method(Runtime& rt, const Value& self, std::string_view name, const Args& args) {
  rt.step(1);
  switch (self.kind()) {
    case Kind::kString:
      return call_string_method(rt, self, name, args);
    case Kind::kDict:
      return call_dict_method(rt, self, name, args);
    case Kind::kList:
    case Kind::kTuple:
      return call_list_method(rt, self, name, args);
    default:
      return call_object_method(rt, self, name, args);
  }
}

Value get_attribute(Runtime& rt, const Value& object, std::string_view name) {
  rt.step(1);
  if (object.is_undefined()) rt.fail(object.undefined_message());
  if (object.is_dict() && !has_method(object, name) && !one_of(kMutators, name)) {
    if (const Value* found = object.dict().find(name)) return *found;
  }
  return own_attribute(rt, object, name);
}

Value get_item(Runtime& rt, const Value& object, const Value& key) {
  rt.step(1);
  if (object.is_undefined()) rt.fail(object.undefined_message());
  if (object.is_dict() && hashable(key)) {
    if (const Value* found = rt.lookup(object.dict(), key)) return *found;
  } else if (key.is_integral()) {
    const auto* range = object.object_if<RangeObject>(ObjectKind::kRange);
    if (object.is_string() || object.is_sequence() || range != nullptr) {
      const int64_t length = rt.length(object);
      const int64_t i = key.as_int() < 0 ? std::max(key.as_int(), -length - 1) + length : key.as_int();
      if (i >= 0 && i < length) {
        if (range != nullptr) return Value::integer(range->at(i));
        if (object.is_sequence()) return object.items()[static_cast<size_t>(i)];
        return rt.string(slice_text(rt, object.text(), {i, i + 1, 1, 1}));
      }
    }
  }
  if (key.is_string()) return own_attribute(rt, object, key.text());
  return Value::undefined(object_name(object) + " has no such element" +
                          (key.is_integral() ? " " + std::to_string(key.as_int()) : ""));
}

Value get_slice(Runtime& rt, const Value& object, const Value& start, const Value& stop, const Value& step) {
  rt.step(1);
  if (object.is_undefined()) rt.fail(object.undefined_message());
  const auto* range = object.object_if<RangeObject>(ObjectKind::kRange);
  if (!object.is_string() && !object.is_sequence() && range == nullptr) {
    rt.fail("'" + std::string(type_name(object)) + "' object cannot be sliced");
  }
  const Indices at = slice_indices(rt, rt.length(object), start, stop, step);
  if (range != nullptr) {
    int64_t by = 0;
    if (__builtin_mul_overflow(range->step, at.step, &by)) rt.fail("the slice step is out of range");
    return Value::object(rt.make<RangeObject>(range->at(at.start), range->at(at.stop), by, at.count));
  }
  if (object.is_string()) return rt.string(slice_text(rt, object.text(), at), object.is_markup());
  Values items;
  rt.charge(static_cast<size_t>(at.count) * sizeof(Value));
  items.reserve(static_cast<size_t>(at.count));
  for (int64_t i = 0; i < at.count; ++i) {
    items.push_back(object.items()[static_cast<size_t>(at.start + i * at.step)]);
  }
  return rt.sequence(object.kind(), std::move(items), false);
}

}  // namespace throughline::jinja

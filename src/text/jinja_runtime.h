// One render's Runtime: its limits, its Objects, and the checked ways to make and walk values.
//
// Everything that costs time charges steps, everything that makes memory charges bytes (never given back: the sum over
// the render is what is limited, so growth by repeated copying is caught too). Exceeding a limit is a TemplateError.
// A Runtime belongs to one render on one thread. Parameter lists bind as Python's do.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/jinja_value.h"

namespace throughline::jinja {

struct Limits {
  int64_t steps = 50'000'000;        // about 2 s; nodes evaluated, items walked, and bytes / 256 copied or scanned
  size_t output_bytes = 16u << 20;   // of the render, and of any one string
  size_t memory_bytes = 512u << 20;  // made over the whole render
  int call_depth = 100;              // macros within macros
};

constexpr int kNestingLimit = 100;            // containers within containers, expressions within expressions
constexpr int64_t kWeightLimit = 16'000'000;  // nodes of one container, counted as a tree
constexpr int64_t kRangeLimit = 100'000;      // jinja2's sandbox: MAX_RANGE

struct NamespaceObject : Object {
  NamespaceObject() : Object(ObjectKind::kNamespace) {}
  Value* find(std::string_view name);
  std::vector<std::pair<std::string, Value>> attributes;
};
struct RangeObject : Object {
  RangeObject(int64_t first, int64_t end, int64_t by, int64_t count)
      : Object(ObjectKind::kRange), start(first), stop(end), step(by), size(count) {}
  // Element i, 0 <= i < size; or any bound of a slice, which may lie outside 64 bits and then wraps.
  int64_t at(int64_t i) const {
    return static_cast<int64_t>(static_cast<uint64_t>(start) + static_cast<uint64_t>(i) * static_cast<uint64_t>(step));
  }
  int64_t start, stop, step, size;
};
// A generator's values, made at once; reading consumes them. True even when empty, as in Python.
struct IteratorObject : Object {
  explicit IteratorObject(Values all) : Object(ObjectKind::kIterator), items(std::move(all)) {}
  Values items;
  size_t next = 0;
};
struct ViewObject : Object {
  ViewObject(const char* type_, Values all) : Object(ObjectKind::kView), type(type_), items(std::move(all)) {}
  const char* type;  // "dict_items", ...
  Values items;
};
struct CyclerObject : Object {
  explicit CyclerObject(Values all) : Object(ObjectKind::kCycler), items(std::move(all)) {}
  Values items;
  size_t position = 0;
};
struct JoinerObject : Object {
  explicit JoinerObject(std::string text) : Object(ObjectKind::kJoiner), separator(std::move(text)) {}
  std::string separator;
  bool used = false;
};
struct LoopObject : Object {
  explicit LoopObject(Values all) : Object(ObjectKind::kLoop), items(std::move(all)) {}
  Values items;
  int64_t index0 = 0;
  int depth0 = 0;
  Values last_changed;
  bool changed_called = false;
  const void* recursive = nullptr;  // the For statement, if it is marked recursive
  void* frame = nullptr;            // the frame it was started in
};

struct Args {
  Values positional;
  std::vector<std::pair<std::string, Value>> named;
};

class Runtime {
 public:
  explicit Runtime(const Limits& limits) : limits_(limits), steps_left_(limits.steps) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  const Limits& limits() const { return limits_; }
  int line = 0;  // of what is being evaluated; errors name it

  [[noreturn]] void fail(std::string message, std::string remedy = "") const;
  void step(int64_t count = 1) {
    if ((steps_left_ -= count) < 0) fail_steps();
  }
  void charge(size_t bytes);  // memory made
  void scan(size_t bytes) { step(static_cast<int64_t>(bytes / 256)); }
  void check_size(size_t bytes) const;  // of one string, before it is made

  Value string(std::string text, bool markup = false);
  Value string(std::string_view text) { return string(std::string(text)); }
  Value string(const char* text) { return string(std::string(text)); }
  Value list(Values items) { return sequence(Kind::kList, std::move(items), false); }
  Value tuple(Values items) { return sequence(Kind::kTuple, std::move(items), false); }
  Value sequence(Kind kind, Values items, bool named);
  Value dict(Dict dict);
  void set(Dict& dict, Value key, Value value);
  Value from_json(const Json& json, int depth = 0);

  template <typename T, typename... A>
  T* make(A&&... args) {
    charge(sizeof(T) + 64);
    auto owned = std::make_unique<T>(std::forward<A>(args)...);
    T* object = owned.get();
    objects_.push_back(std::move(owned));
    return object;
  }
  Value iterator(Values items) { return Value::object(make<IteratorObject>(std::move(items))); }

  bool truthy(const Value& value) const;
  bool equal(const Value& a, const Value& b);
  // Python's < : -1, 0, 1; an error for types without an order.
  int compare(const Value& a, const Value& b, const char* op = "<");
  bool is_iterable(const Value& value) const;
  Values iterate(const Value& value);  // list(value); consumes an iterator
  int64_t length(const Value& value);  // len(value)
  bool contains(const Value& container, const Value& item);
  const Value* lookup(const Dict& dict, const Value& key);  // an error for unhashable keys
  int64_t as_index(const Value& value, const char* what);   // int or bool; an error otherwise
  const std::string& as_text(const Value& value, const char* what);

 private:
  [[noreturn]] void fail_steps() const;
  Limits limits_;
  int64_t steps_left_;
  size_t memory_used_ = 0;
  std::vector<std::unique_ptr<Object>> objects_;
};

// Binds arguments to parameter names as Python does: `required` of them must be given; too many or unknown: an error.
class Bound {
 public:
  Bound(Runtime& rt, std::string_view function, const Args& args, std::initializer_list<std::string_view> names,
        size_t required = 0);
  bool has(size_t i) const { return values_[i] != nullptr; }
  bool given(size_t i) const { return values_[i] != nullptr && !values_[i]->is_none(); }
  const Value& operator[](size_t i) const { return *values_[i]; }  // REQUIRES: has(i)
  Value get(size_t i, const Value& otherwise) const { return has(i) ? *values_[i] : otherwise; }
  bool flag(size_t i, bool otherwise) const { return has(i) ? rt_.truthy(*values_[i]) : otherwise; }
  int64_t index(size_t i, int64_t otherwise, const char* what) const {
    return has(i) ? rt_.as_index(*values_[i], what) : otherwise;
  }

 private:
  Runtime& rt_;
  std::vector<const Value*> values_;
};

// "'message...'" with long text cut, for error messages.
std::string quote_text(std::string_view text);

}  // namespace throughline::jinja

// The values of the Jinja engine: Python's None, bool, int (64 bits), float, str, list, tuple, dict, and Undefined.
//
// Strings, lists, tuples and dicts are immutable and shared (chat templates run in an immutable sandbox). Whatever has
// identity or state (namespaces, loops, iterators, macros, ranges) is an Object that lives in its render's Runtime;
// a Value only points at it. So there are no cycles, and a Value with an Object must not outlive its render.
// Depth and weight (nodes, and bytes / 64) of every container are kept so that hostile nesting is refused when it
// is built: walking a Value then needs no guard of its own. Built through Runtime, which charges the limits.
// Errors: TemplateError, an exception that stays inside text/jinja_*; ChatTemplate turns it into a Result.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace throughline::jinja {

struct TemplateError {
  std::string message;
  int line = 0;
  std::string remedy;
};

enum class Kind : uint8_t { kUndefined, kNone, kBool, kInt, kFloat, kString, kList, kTuple, kDict, kObject };

enum class ObjectKind : uint8_t {
  kNamespace,
  kRange,
  kIterator,
  kView,
  kLoop,
  kMacro,
  kMethod,
  kFunction,
  kCycler,
  kJoiner
};
struct Object {
  explicit Object(ObjectKind object_kind) : kind(object_kind) {}
  virtual ~Object() = default;
  const ObjectKind kind;
};

class Value;
class Dict;
using Values = std::vector<Value>;

struct Str {
  std::string text;
  bool markup = false;  // made by `safe` or `escape`: `+` escapes what it is joined to
};

struct Sequence;

class Value {
 public:
  Value() = default;  // Undefined without a message
  static Value undefined(std::string message);
  static Value none() { return Value(Kind::kNone); }
  static Value boolean(bool b);
  static Value integer(int64_t i);
  static Value real(double d);
  static Value object(Object* object);
  // Unchecked: for the parser's constants and for Runtime.
  static Value string(std::string text, bool markup = false);
  static Value sequence(Kind list_or_tuple, std::shared_ptr<const Sequence> items);
  static Value dict(std::shared_ptr<const Dict> dict);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_dict() const { return kind_ == Kind::kDict; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
  bool is_integral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }  // bool is an int in Python
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }
  bool is_markup() const { return is_string() && static_cast<const Str*>(shared_.get())->markup; }

  // Each REQUIRES the kind.
  bool as_bool() const { return integer_ != 0; }
  int64_t as_int() const { return integer_; }  // kInt or kBool
  double as_double() const { return kind_ == Kind::kFloat ? real_ : static_cast<double>(integer_); }
  const std::string& text() const { return static_cast<const Str*>(shared_.get())->text; }
  const Values& items() const;  // kList or kTuple
  const Sequence& seq() const { return *static_cast<const Sequence*>(shared_.get()); }
  const Dict& dict() const { return *static_cast<const Dict*>(shared_.get()); }
  Object* object() const { return object_; }
  template <typename T>
  T* object_if(ObjectKind kind) const {
    return kind_ == Kind::kObject && object_->kind == kind ? static_cast<T*>(object_) : nullptr;
  }

  // Why it is undefined, as jinja2 words it ("'x' is undefined").
  std::string undefined_message() const;
  const void* identity() const { return shared_.get(); }

  int depth() const;
  int64_t weight() const;

 private:
  explicit Value(Kind kind) : kind_(kind) {}
  Kind kind_ = Kind::kUndefined;
  union {
    int64_t integer_ = 0;
    double real_;
    Object* object_;
  };
  std::shared_ptr<const void> shared_;
};

struct Sequence {
  Values items;
  bool named = false;  // groupby's (grouper, list) tuple
  int depth = 1;
  int64_t weight = 1;
};

// An order over hashable values in which numbers that Python calls equal are equal (1, 1.0, True).
struct KeyLess {
  bool operator()(const Value& a, const Value& b) const;
};

// Insertion-ordered; keys are hashable values.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;
  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  // A later value for an equal key replaces the earlier one at its place. Only while building.
  void set(Value key, Value value);

  int depth = 1;
  int64_t weight = 1;

 private:
  std::vector<Entry> entries_;
  std::map<Value, size_t, KeyLess> index_;  // filled once there are more than a few entries
};

bool hashable(const Value& value);
// Python's ==. No step is charged: callers charge min(weight).
bool equals(const Value& a, const Value& b);
// Python's name for the type, as error messages show it ("str", "NoneType").
const char* type_name(const Value& value);

}  // namespace throughline::jinja

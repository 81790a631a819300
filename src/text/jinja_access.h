// obj.name, obj[key] and obj[a:b:c] as jinja2's sandbox answers them, and the methods of str, dict, list and tuple.
//
// What is missing is Undefined (with the reason); attributes that begin with an underscore and methods that would
// change a list or dict are Undefined too, as in the immutable sandbox. Slices of what has none are errors.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja_runtime.h"

namespace throughline::jinja {

// A method with the value it belongs to, not yet called.
struct MethodObject : Object {
  MethodObject(Value owner, std::string method_name)
      : Object(ObjectKind::kMethod), self(std::move(owner)), name(std::move(method_name)) {}
  Value self;
  std::string name;
};

Value get_attribute(Runtime& rt, const Value& object, std::string_view name);
Value get_item(Runtime& rt, const Value& object, const Value& key);
// Absent bounds are None.
Value get_slice(Runtime& rt, const Value& object, const Value& start, const Value& stop, const Value& step);

bool has_method(const Value& object, std::string_view name);
// REQUIRES: has_method(self, name)
Value call_method(Runtime& rt, const Value& self, std::string_view name, const Args& args);

}  // namespace throughline::jinja

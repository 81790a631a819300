// The functions every chat template may call: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
#pragma once

#include <ctime>
#include <functional>
#include <optional>
#include <string>

#include "text/jinja_runtime.h"

namespace throughline::jinja {

// Local time, for strftime_now.
using Clock = std::function<std::tm()>;

struct FunctionObject : Object {
  using Call = Value (*)(Runtime&, const Args&, const Clock&);
  FunctionObject(std::string_view function_name, Call function)
      : Object(ObjectKind::kFunction), name(function_name), call(function) {}
  std::string_view name;
  Call call;
};

// Nothing when there is no global of that name.
std::optional<Value> find_global(Runtime& rt, std::string_view name);

}  // namespace throughline::jinja

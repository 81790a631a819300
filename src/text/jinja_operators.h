// Python's operators on values: + - * / // % ** and unary minus, with 64-bit integers (overflow is an error).
#pragma once

#include <string_view>

#include "text/jinja_runtime.h"

namespace throughline::jinja {

Value arithmetic(Runtime& rt, std::string_view op, const Value& a, const Value& b);
Value negative(Runtime& rt, const Value& value);
Value positive(Runtime& rt, const Value& value);

}  // namespace throughline::jinja

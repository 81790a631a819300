// Python's str methods (those that text needs; encode, translate and the like are refused by name).
#pragma once

#include <string_view>

#include "text/jinja_runtime.h"

namespace throughline::jinja {

bool is_string_method(std::string_view name);
bool is_unsupported_string_method(std::string_view name);
// REQUIRES: self.is_string() && is_string_method(name)
Value call_string_method(Runtime& rt, const Value& self, std::string_view name, const Args& args);

// str.replace and str.join, which filters use too.
std::string replace_text(Runtime& rt, std::string_view text, std::string_view from, std::string_view to, int64_t count);
std::string pad_text(Runtime& rt, std::string_view text, int64_t width, std::string_view fill, double left_share);

}  // namespace throughline::jinja

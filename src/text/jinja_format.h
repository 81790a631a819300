// Python's two text formatters: "%s and %d" % values, and "{} and {name:>8}".format(...).
// Widths and precisions are limited like every text; nested replacement fields ({:{w}}) are refused.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja_runtime.h"

namespace throughline::jinja {

// `values`: a tuple for several conversions, a dict for %(name)s, else one value.
std::string format_percent(Runtime& rt, std::string_view text, const Value& values);
std::string format_braces(Runtime& rt, std::string_view text, const Args& args);

}  // namespace throughline::jinja

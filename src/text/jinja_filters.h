// The filters and tests of jinja2 that chat templates use, with Hugging Face's `tojson`.
//
// Not there, and refused by name: filesizeformat, pprint, random, striptags, urlize, wordwrap, xmlattr.
// Filters that return a generator in jinja2 return an iterator here too (always true, no length), but made at once.
#pragma once

#include <string_view>

#include "text/jinja_runtime.h"

namespace throughline::jinja {

using Filter = Value (*)(Runtime&, const Value& input, const Args&);
struct FilterEntry {
  std::string_view name;
  Filter filter;
};

bool is_filter(std::string_view name);
Value apply_filter(Runtime& rt, std::string_view name, const Value& input, const Args& args);
bool is_test(std::string_view name);
bool apply_test(Runtime& rt, std::string_view name, const Value& input, const Args& args);

// The filters over lists and dicts (jinja_sequence_filters.cc); null when `name` is none of them.
Filter find_sequence_filter(std::string_view name);
// Follows "a.b.0" through a value, as map(attribute=...) does.
Value follow_path(Runtime& rt, const Value& value, const Value& path);

}  // namespace throughline::jinja

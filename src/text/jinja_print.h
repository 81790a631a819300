// How values become text: Python's str() and repr(), and json.dumps as Hugging Face's `tojson` calls it.
// Errors (a value that JSON cannot hold, a text over the limit) are TemplateErrors.
#pragma once

#include <optional>
#include <string>

#include "text/jinja_runtime.h"

namespace throughline::jinja {

void append_str(Runtime& rt, std::string& out, const Value& value);
void append_repr(Runtime& rt, std::string& out, const Value& value, int depth = 0);
std::string to_str(Runtime& rt, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // one level's text; absent: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
std::string to_json(Runtime& rt, const Value& value, const JsonStyle& style);

}  // namespace throughline::jinja

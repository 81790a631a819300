// Parses a chat template's Jinja source into a Program.
//
// The subset: if, for (filter, else, recursive), set (also blocks and namespace attributes), macro, call, filter, with,
// print, raw, comments, break, continue, generation; all of jinja2's expressions. include, import, extends, block and
// the like have no meaning in a chat template and are refused by name. Unknown filters and tests are refused here too,
// but inside an `if` only when they are reached, as in jinja2. Limits: kNestingLimit levels, kSourceLimit bytes.
// Errors: TemplateError with the line. Thread-safe.
#pragma once

#include <string_view>

#include "text/jinja_ast.h"

namespace throughline::jinja {

constexpr size_t kSourceLimit = 4u << 20;  // bytes; the longest published chat template is under 32 KiB

Program parse_program(std::string_view source);

}  // namespace throughline::jinja

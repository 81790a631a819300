// Runs a Program: scopes, control flow, macros, and the expressions of a template.
//
// Scoping is jinja2's: loops, macros, call, filter, with and set blocks have a scope of their own, `if` has not; macros
// see the scope they were defined in. Errors and exceeded limits are TemplateErrors with the line. One render per call;
// the Program is only read, so any number may run at once.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "text/jinja_ast.h"
#include "text/jinja_globals.h"
#include "text/jinja_runtime.h"

namespace throughline::jinja {

// Called once for each name that the template mentions; nothing when the render has no such variable.
using Variables = std::function<std::optional<Value>(Runtime&, const std::string& name)>;

std::string render_program(const Program& program, const Variables& variables, const Limits& limits,
                           const Clock& clock);

}  // namespace throughline::jinja

// Text that a command is given: as an argument, a file, or on standard input.
#pragma once

#include <string>

#include "base/result.h"

namespace throughline {

// All of standard input, at most kTextFileLimit bytes; an Error when it is a terminal (nobody would know to type) and
// when Ctrl-C ends it. `what` names it in errors: "a prompt".
Result<std::string> read_standard_input(const std::string& what);
// The argument itself, or standard input without its last newline when it is empty or "-".
Result<std::string> text_argument(const std::string& argument, const std::string& what);

}  // namespace throughline

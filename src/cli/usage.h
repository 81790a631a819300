// What is wrong with a command line itself, told as every command tells it.
#pragma once

#include <CLI/App.hpp>
#include <string>

namespace throughline {

// --flag "" is an error for every flag that takes a value: it is an unset shell variable more often than a wish, and
// would silently mean the default. Call it when all commands are added.
void refuse_empty_values(CLI::App& app);

// "--top-k: must be ...; see `throughline bench decode --help`", of the command that was reached.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace throughline

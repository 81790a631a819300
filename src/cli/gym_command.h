// `gym`: sample, check and list the procedural tasks (gym/task.h). Errors of the user: one line on stderr, exit status
// 2; bad input lines: an error line each in the output, exit status 1. "-" is the standard stream.
#pragma once

#include <CLI/CLI.hpp>

namespace throughline {

// Adds the subcommand `gym` to `app`; when it runs it sets *exit_status. REQUIRES: exit_status outlives app.parse().
void add_gym_command(CLI::App& app, int* exit_status);

}  // namespace throughline

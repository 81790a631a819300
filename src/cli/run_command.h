// `throughline run`: one prompt, its answer streamed to standard output, what it costs on standard error.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

// *exit_status: 0; 1 when the engine gave the sample up; 2 for a user error; 130 when interrupted. Must outlive the
// parse.
void add_run_command(CLI::App& app, int* exit_status);

}  // namespace throughline

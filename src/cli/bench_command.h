// `throughline bench decode` and `bench prefill`: speed against depth, batch and policy, as a table and as JSON lines.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

// *exit_status: 0, 2 for a user error (one line on stderr), 130 when interrupted. Both must outlive the parse.
void add_bench_command(CLI::App& app, int* exit_status);

}  // namespace throughline

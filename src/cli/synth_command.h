// `throughline synth`: writes a random checkpoint of a known shape, for benchmarks.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

// *exit_status: 0, 2 for a user error (one line on stderr), 130 when interrupted. Both must outlive the parse.
void add_synth_command(CLI::App& app, int* exit_status);

}  // namespace throughline

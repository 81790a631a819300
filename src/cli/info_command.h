// `throughline info`: what a model directory holds, and the memory plan.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

// *exit_status: 0, or 2 for a user error (one line on stderr). Both must outlive the parse.
void add_info_command(CLI::App& app, int* exit_status);

}  // namespace throughline

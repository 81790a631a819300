// `throughline serve`: the OpenAI-compatible server (docs/server.md).
#pragma once

#include <CLI/App.hpp>

namespace throughline {

void add_serve_command(CLI::App& app, int* exit_status);

}  // namespace throughline

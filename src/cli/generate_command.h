// `throughline generate`: JSON Lines in, JSON Lines out, each line written as its request finishes; resumes by id.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

void add_generate_command(CLI::App& app, int* exit_status);

}  // namespace throughline

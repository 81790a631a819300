// `throughline help [TOPIC]`: the help of a command, or the KV policies (`help kv`) and thinking environments
// (`help think`) as their declarations describe them.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

// Both must outlive the parse. *exit_status: 0, or 2 for an unknown topic.
void add_help_command(CLI::App& app, int* exit_status);

}  // namespace throughline

// `throughline demo`: the shipped stories260K in a KV room of 192 tokens, three ways side by side: the full cache stops
// there, RPC reaches the model's 512 positions, Delethink goes on past them.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

// *exit_status: 0, 2 for a user error, 130 when interrupted. Must outlive the parse.
void add_demo_command(CLI::App& app, int* exit_status);

}  // namespace throughline

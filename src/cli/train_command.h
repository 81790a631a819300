// `throughline train sft|grpo RECIPE.toml`: trains, prints a table of steps, writes a run directory. Ctrl-C finishes
// the step, writes a checkpoint and ends with 130; --resume goes on.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

// Returns the `train` command, for further subcommands.
CLI::App* add_train_command(CLI::App& app, int* exit_status);

}  // namespace throughline

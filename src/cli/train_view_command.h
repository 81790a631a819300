// `throughline train view RUN` and `throughline train plot RUN...`: looking at a run, while it goes on or afterwards.
// They read metrics.jsonl and traces.jsonl only (docs/reading-a-run.md); no model is loaded.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

// Adds both to the `train` group. *exit_status: 0, 2 for a user error, 130 when interrupted. Must outlive the parse.
void add_train_view_commands(CLI::App& train, int* exit_status);

}  // namespace throughline

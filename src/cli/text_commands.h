// `throughline tokenize`, `detokenize`, `template`: what a model directory's tokenizer and chat template make of a
// text. They need no weights.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

// exit_status must outlive the parse; it becomes 0, or 2 for a user error (one line on standard error).
void add_text_commands(CLI::App& app, int* exit_status);

}  // namespace throughline

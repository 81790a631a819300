// `throughline quantize`: a checkpoint with int8 or int4 matrices (docs/quantization.md), and what it cost in quality.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

void add_quantize_command(CLI::App& app, int* exit_status);

}  // namespace throughline

// `bench compare`, and `bench worker`, the process it starts for each setting of our own.
#pragma once

#include <CLI/App.hpp>

namespace throughline {

void add_bench_compare(CLI::App& bench, int* exit_status);

}  // namespace throughline

// Precompiled for cli/: CLI11's one big header.
#pragma once
#include <CLI/CLI.hpp>

// What the tests of `bench` share.
#pragma once

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <string>

#include "cli/bench_command.h"

namespace throughline {

inline const std::string kModel = std::string(THROUGHLINE_SOURCE_DIR) + "/models/stories260K";

// The exit status; -1 for a line that does not parse.
inline int run(const std::string& line) {
  CLI::App app{"test"};
  int status = 0;
  add_bench_command(app, &status);
  try {
    app.parse(line);
  } catch (const CLI::ParseError&) {
    return -1;
  }
  return status;
}

}  // namespace throughline

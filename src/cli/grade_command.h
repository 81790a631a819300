// The subcommand `grade`: regrades stored responses with a named verifier profile (gym/answer/grade_file.h).
#pragma once

namespace CLI {
class App;
}

namespace throughline {

// Adds `grade` to `app`; when it ran, *exit_status is 0, 1 (some lines could not be graded) or 2 (wrong use, no file).
void add_grade_command(CLI::App& app, int* exit_status);

}  // namespace throughline

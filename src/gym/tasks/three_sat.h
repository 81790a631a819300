// three_sat: find a satisfying assignment by depth-first search in place (research/delethink.md E.3 task 3).
//
// Puzzle "5:ab-c,-ad-e,...": variables a..e, each clause three literals, "-" negates. Every instance is satisfiable.
// Answer: one bit a variable, in order, "10110"; any satisfying assignment is right.
// Trace: each line is the assigned prefix; "1x ab-c" names a clause the prefix breaks. The next line is a function of
// the puzzle and the last line: no conflict, append 1; conflict, drop trailing 0s and turn the last 1 into 0.
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_three_sat();

}  // namespace throughline

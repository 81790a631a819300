// maze: a path through a perfect maze by depth-first search.
//
// Puzzle: rows by "/": "s.#../#.#.#/..#.g": s start, g goal, "#" wall, "." open. Answer moves u d l r, one a square.
// Any walk over open squares from s to g is right, up to four moves an open square.
// Trace: at each junction or dead end the whole path so far; a dead end ends in "x"; the order is u, r, d, l, never
// straight back. The next line is a function of the puzzle and the last line.
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_maze();

}  // namespace throughline

// latin_square: fill the blanks of an n x n Latin square by depth-first search in place.
//
// Puzzle "4:1.3./.2../...4/3..." (rows by "/", "." blank); answer the full rows. Any completion that keeps the givens
// and has every symbol once in each row and column is right. Squares come from random row-by-row matchings. Trace: each
// line is the whole square; a line ending in "x" has a blank without candidates. The next line is a function of the
// puzzle and the last line: fill the first blank with its least candidate; after "x" take the last filled blank on.
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_latin_square();

}  // namespace throughline

// tower_of_hanoi: move n disks; the cheap long-horizon task (2^n - 1 moves).
//
// Puzzle "3:a>c": disks, from peg, to peg; answer the moves, "ac ab cb ac ba bc ac". Any legal sequence that ends with
// all disks on the goal peg is right, up to twice the fewest moves. Trace: each move "ac", and with probability
// `restate` the state after it, "ac=caa": the peg of every disk, smallest first.
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_tower_of_hanoi();

}  // namespace throughline

// iterate_map: a walk over a map of letters with a sparse register, the main demonstration of a learned Markovian
// state.
//
// Puzzle "ag bk cd...;fu3 kv7;40au0v0": arrows a->g, b->k, ...; arriving at f adds 3 to register u (modulo 10), at k 7
// to v; start at a, take 40 steps. States are a..t, registers u..x, all registers start at 0. Answer: the final node,
// then the value of each register in order, "g37". Trace "40a 39g 38fu3 ...": steps left, node; a register is written
// when it changes and otherwise with probability `restate` a step. The bounded state is (steps left, node, registers):
// a carried tail that lacks a register has lost it. `map=cycle` is one cycle through all states, so marked nodes come
// up evenly and the walk never settles in a short loop. Source: research/delethink.md E.3 task 1.
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_iterate_map();

}  // namespace throughline

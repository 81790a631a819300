// long_multiplication: a * b digit by digit with a running accumulator (research/delethink.md E.3 task 2).
//
// Puzzle "347*582"; answer the product. Trace, one line a digit of b from its last: "1:2*347=694|694",
// "2:8*347=2776|28454", ...: place, partial product, accumulator so far. The state is (place, accumulator): 2 digits +
// a few characters; a trace is about 3 digits^2 characters.
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_long_multiplication();

}  // namespace throughline

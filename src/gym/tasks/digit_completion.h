// digit_completion: continue an arithmetic progression modulo m, a first smoke test (after verl's e2e digit task).
//
// Puzzle "1,3:20,5": first two numbers, modulus, how many to add; answer "5,7,9,11,13".
// Trace "d2", then each step "3+2=5", "19+2=21-20=1".
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_digit_completion();

}  // namespace throughline

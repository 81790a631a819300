// countdown: reach a target with all the given numbers, each used once, by + - * / and parentheses.
//
// Puzzle "25,3,7=154"; answer an expression, "(25-3)*7". Right if it uses exactly these numbers and its exact rational
// value is the target; read by gym/expression.h (bounded, no evaluator that can run away; no powers, no integer
// division). Trace: attempts, a line each, "25+3=28,28*7=196 x"; consecutive attempts may share their first step; each
// line restates the whole path, so a carried tail suffices. The last one reaches the target.
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_countdown();

}  // namespace throughline

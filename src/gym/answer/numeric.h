// Numeric value of an expression at a pseudo-random point, in the precision of T (double or long double).
//
// Points depend on the name of the variable and the number of the point only, so both sides of a comparison, and every
// run, see the same ones. Not finite, undefined or unknown parts give NaN. Costs one step a node, more for functions.
#pragma once

#include <complex>

#include "gym/answer/ast.h"

namespace throughline::answer {

template <typename T>
std::complex<T> evaluate(const Tree& tree, NodeId id, int point, Steps* steps);

}  // namespace throughline::answer

// chain_sum: a sum of many terms with written partial sums; the state is (index, partial sum).
//
// Puzzle "37+52-18"; answer the value. Trace "1:37 2:+52=89 3:-18=71".
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_chain_sum();

}  // namespace throughline

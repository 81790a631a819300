// number_sorting: sort by repeated selection; every line looks back at the whole list, so the prompt must stay
// readable.
//
// Puzzle "up:12,5,9" or "down:..."; answer "5,9,12". Trace: lines "sorted|rest": "|12,5,9", "5|12,9", "5,9|12",
// "5,9,12|". The line is the state; the trace grows with the square of the count.
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_number_sorting();

}  // namespace throughline

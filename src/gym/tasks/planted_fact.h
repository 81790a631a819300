// planted_fact: a fact stated early and needed after a long computation; the adversary of chunking and of eviction.
//
// place=thinking: "ag bk ...;a40;3": walk 40 steps from a; answer the final node and the first 3 nodes visited, "gkdt":
// the fact arises at the start of the trace. place=prompt: "ag bk ...;a40;f4829": answer the final node and the code,
// "g4829". Trace "40a 39k 38d 37tfkdt ...": steps left and node; "fkdt" states the fact, once at the start and then
// with probability `restate` a step.
#pragma once

#include <memory>

#include "gym/task.h"

namespace throughline {

std::unique_ptr<const Task> make_planted_fact();

}  // namespace throughline

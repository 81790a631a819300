// For tests: each task judged a second time from its puzzle line alone, by code that shares nothing with src/gym/tasks/
// (other data structures, brute force where it is small). Slow and trusting: never for untrusted text.
#pragma once

#include <string>

namespace throughline {

bool solves(const std::string& task, const std::string& puzzle, const std::string& given);

}  // namespace throughline

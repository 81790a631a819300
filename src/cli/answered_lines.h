// What an earlier run of generate has answered in its output file, so that a rerun goes on from there.
//
// Of the file only what generate itself would write again may go: lines with `error` and a killed writer's half line.
// Anything else in it is somebody's data, and an Error.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

// A line is known by its id, or by its number when it has none.
std::string line_key(const Json& id, int64_t line);

// The keys answered in the file, from which lines with `error` are dropped: they are tried again. Empty for "-", for
// what is not there yet, and for devices and pipes, which hold nothing.
Result<std::set<std::string>> answered_in(const std::string& path);

}  // namespace throughline

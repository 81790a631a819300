// Grades a file of stored responses: JSON Lines {"id","gold","response"} in, {"id","verdict","extracted","normalized",
// "steps"} out, in the same order, with "undecided": true where that is so.
//
// Streams: memory does not grow with the file. `gold` may be a string or a number. A line that cannot be graded gives
// {"id" or null, "line", "error"} and is counted; the run goes on. Threads grade a block of lines at a time; verdicts
// do not depend on their number. "-" names the standard streams.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace throughline::answer {

struct GradeFileOptions {
  std::string profile = "rlvr-strict";
  std::string input = "-";
  std::string output = "-";
  int threads = 0;                           // 0: one for each processor
  size_t max_line_bytes = size_t{64} << 20;  // longer lines are errors
};

struct GradeFileSummary {
  int64_t lines = 0, right = 0, wrong = 0, no_answer = 0;
  int64_t undecided = 0;  // part of `wrong`
  int64_t errors = 0;     // lines that were not graded
};

Result<GradeFileSummary> grade_file(const GradeFileOptions& options);

}  // namespace throughline::answer

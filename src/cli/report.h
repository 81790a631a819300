// What commands tell a person: the error line, and one line of progress. All on standard error.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/result.h"

namespace throughline {

// The command's exit status; an Error is printed as one line and gives 2.
int report(const Result<int>& result);

bool on_terminal();  // is standard error one?

// "12 done, 4 running, 345 tok/s", redrawn in place; silent where standard error is no terminal.
class ProgressLine {
 public:
  void show(int64_t done, int64_t open, int64_t tokens);
  void finish(int64_t done, int64_t errors, int64_t skipped, int64_t tokens);  // one closing line, always printed

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
  Clock::time_point shown_ = start_;
};

}  // namespace throughline

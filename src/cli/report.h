// What commands tell a person: the error line, and one line of progress. All on standard error.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace throughline {

struct EngineStats;

// The command's exit status; an Error is printed as one line and gives 2.
int report(const Result<int>& result);

bool on_terminal();  // is standard error one?

// ", drafts 71 % right"; empty where there were none.
std::string drafts_text(int64_t accepted, int64_t drafts);

// "12 done, 4 running, 345 tok/s", redrawn in place; silent where standard error is no terminal.
class ProgressLine {
 public:
  void show(int64_t done, int64_t open, const EngineStats& stats);
  void finish(int64_t done, int64_t errors, int64_t skipped, const EngineStats& stats);  // one closing line, always

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
  Clock::time_point shown_ = start_;
};

}  // namespace throughline

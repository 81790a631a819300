#include "cli/report.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

namespace throughline {

int report(const Result<int>& result) {
  if (result.ok()) return *result;
  fmt::print(stderr, "throughline: {}\n", result.error().line());
  return 2;
}

bool on_terminal() { return ::isatty(STDERR_FILENO) != 0; }

void ProgressLine::show(int64_t done, int64_t open, int64_t tokens) {
  const auto now = Clock::now();
  if (!on_terminal() || now - shown_ < std::chrono::milliseconds(100)) return;
  shown_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  fmt::print(stderr, "\r\033[K{} done, {} open, {} tokens, {:.1f} tok/s", done, open, tokens,
             static_cast<double>(tokens) / seconds);
  std::fflush(stderr);
}

void ProgressLine::finish(int64_t done, int64_t errors, int64_t skipped, int64_t tokens) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  fmt::print(stderr, "{}{} done, {} errors, {} answered before; {} tokens in {:.1f} s ({:.1f} tok/s)\n",
             on_terminal() ? "\r\033[K" : "", done, errors, skipped, tokens, seconds,
             static_cast<double>(tokens) / seconds);
}

}  // namespace throughline

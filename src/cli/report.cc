#include "cli/report.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

#include "engine/engine.h"

namespace throughline {

int report(const Result<int>& result) {
  if (result.ok()) return *result;
  fmt::print(stderr, "throughline: {}\n", result.error().line());
  return 2;
}

bool on_terminal() { return ::isatty(STDERR_FILENO) != 0; }

std::string drafts_text(int64_t accepted, int64_t drafts) {
  if (drafts == 0) return "";
  return fmt::format(", drafts {:.0f} % right", 100 * static_cast<double>(accepted) / static_cast<double>(drafts));
}

void ProgressLine::show(int64_t done, int64_t open, const EngineStats& stats) {
  const auto now = Clock::now();
  if (!on_terminal() || now - shown_ < std::chrono::milliseconds(100)) return;
  shown_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  fmt::print(stderr, "\r\033[K{} done, {} open, {} tokens, {:.1f} tok/s{}", done, open, stats.sampled_tokens,
             static_cast<double>(stats.sampled_tokens) / seconds,
             drafts_text(stats.accepted_tokens, stats.draft_tokens));
  std::fflush(stderr);
}

void ProgressLine::finish(int64_t done, int64_t errors, int64_t skipped, const EngineStats& stats) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  fmt::print(stderr, "{}{} done, {} errors, {} answered before; {} tokens in {:.1f} s ({:.1f} tok/s{})\n",
             on_terminal() ? "\r\033[K" : "", done, errors, skipped, stats.sampled_tokens, seconds,
             static_cast<double>(stats.sampled_tokens) / seconds,
             drafts_text(stats.accepted_tokens, stats.draft_tokens));
}

}  // namespace throughline

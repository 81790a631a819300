// Processor time of the calling thread, so that a busy machine does not look like a slow input.
#pragma once

#include <time.h>

#include <cstdint>

inline int64_t thread_time_ns() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * int64_t{1000000000} + t.tv_nsec;
}

// What one input may take. Twice the 10 ms that are promised: sanitizers cost more than that, and machines differ (a
// seed takes 10 to 11 ms on a Zen 3).
constexpr int64_t kInputLimitNs = 20000000;
// Shared caches and a paused machine lengthen processor time, too: an input is slow if its fastest run of so many is.
constexpr int kAttempts = 10;

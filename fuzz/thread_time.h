// Processor time of the calling thread, so that a busy machine does not look like a slow input.
#pragma once

#include <time.h>

#include <cstdint>

inline int64_t thread_time_ns() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * int64_t{1000000000} + t.tv_nsec;
}

constexpr int64_t kInputLimitNs = 10000000;  // what one input may take under sanitizers: issue B's 10 ms
// Shared caches and a paused machine lengthen processor time, too: an input is slow if its fastest run of so many is.
constexpr int kAttempts = 10;

// Reading a long row of memory at the machine's speed: the hardware's prefetcher stops at the end of each 4 KiB page
// and needs a few misses to start again. Fetching the first lines of the page after the next starts it early, for a
// fraction of the instructions that fetching all would take (bench/gemm_bench, FewRows/1).
#pragma once

#include <cstddef>
#include <cstdint>

namespace throughline::ops::cpu {

// About to read [from, from + bytes).
inline __attribute__((always_inline)) void fetch_page_heads(const void* from, int64_t bytes) {
  constexpr uintptr_t kPage = 4096, kAhead = 2 * kPage, kLines = 8;
  const auto begin = reinterpret_cast<uintptr_t>(from), end = begin + static_cast<uintptr_t>(bytes);
  for (uintptr_t page = (begin + kPage - 1) / kPage * kPage; page < end; page += kPage) {
    for (uintptr_t line = 0; line < kLines; ++line)
      __builtin_prefetch(reinterpret_cast<const void*>(page + kAhead + 64 * line), /*write=*/0, /*L2 and below*/ 2);
  }
}

}  // namespace throughline::ops::cpu

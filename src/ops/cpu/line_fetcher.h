// Memory that will be read soon, asked for evenly during arithmetic. Inlined into code for any target; no torch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace throughline::ops::cpu {

constexpr int64_t kLine = 64;

// Fetches `left` lines of rows into L2 in the order of memory, whatever the order in which they are read. One by one:
// many at once would fill the core's miss buffers, and memory would rest during the arithmetic.
struct LineFetcher {
  static constexpr int64_t kWhole = 64;
  const std::byte* const* rows;
  int64_t left, row_bytes, at = 0;
  int64_t pace = kWhole, due = 0;  // lines a call, in parts of kWhole
  // Lets `calls` more calls fetch what is left, evenly.
  inline __attribute__((always_inline)) void spread(int64_t calls) {
    pace = calls > 0 ? (left * kWhole + calls - 1) / calls : 0;
  }
  inline __attribute__((always_inline)) void next() {
    due += pace;
    if (due < kWhole || left == 0) return;
    due -= kWhole;
    --left;
    __builtin_prefetch(*rows + at, /*write=*/0, /*L2 and below*/ 2);
    at += kLine;
    if (at >= row_bytes) at = 0, ++rows;
  }
};

}  // namespace throughline::ops::cpu

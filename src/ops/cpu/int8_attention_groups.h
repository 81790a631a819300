// Queries in groups of as many as a way of int8_attention.h has registers for; the same for all ways.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cpu/int8_attention.h"
#include "ops/cpu/line_fetcher.h"

namespace throughline::ops::cpu {

using Int8ScoresOf = void (*)(const Int8ScoreTask& task, int64_t query, int64_t slot);  // of a tile of keys
using Int8SumsOf = void (*)(const Int8ValueTask& task, int64_t query, LineFetcher* fetcher);

// of[i]: for i + 1 queries.
template <size_t kMost>
void scores_in_groups(const Int8ScoreTask& task, const Int8ScoresOf (&of)[kMost]) {
  const int64_t most = kMost, groups = (task.query_count + most - 1) / most;
  for (int64_t slot = 0; slot < task.slots; slot += kInt8Keys.tokens) {
    for (int64_t i = 0; i < groups; ++i) {
      const int64_t from = task.query_count * i / groups, to = task.query_count * (i + 1) / groups;
      of[to - from - 1](task, from, slot);
    }
  }
}

// `calls`: of the fetcher, a group.
template <size_t kMost>
void sums_in_groups(const Int8ValueTask& task, const Int8SumsOf (&of)[kMost], int64_t calls, LineFetcher* fetcher) {
  const int64_t most = kMost, groups = (task.query_count + most - 1) / most;
  fetcher->spread(groups * calls);
  for (int64_t i = 0; i < groups; ++i) {
    const int64_t from = task.query_count * i / groups, to = task.query_count * (i + 1) / groups;
    if (task.seen[to - 1] > 0) of[to - from - 1](task, from, fetcher);
  }
}

}  // namespace throughline::ops::cpu

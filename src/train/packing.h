// Rows into micro-batches under a token budget, without padding. Deterministic: a function of the lengths alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace throughline {

// Indices of the rows of each micro-batch. First-fit decreasing: long rows first, each into the first micro-batch with
// room; equal lengths in order of index, indices within a micro-batch ascending. A row over the budget is alone.
std::vector<std::vector<int64_t>> pack_rows(std::span<const int64_t> row_tokens, int64_t budget_tokens);

// Traces over the optimizer steps of one rollout: trace t goes to step t * steps / traces, so that a trace's rows, and
// as far as the division allows a group's traces, stay together. Returns each step's [from, to) of the traces.
// REQUIRES: steps >= 1. With fewer traces than steps some ranges are empty.
struct TraceRange {
  int64_t from = 0, to = 0;
};
std::vector<TraceRange> split_traces(int64_t traces, int64_t steps);

}  // namespace throughline

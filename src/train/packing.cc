#include "train/packing.h"

#include <algorithm>
#include <numeric>

#include "base/result.h"

namespace throughline {

std::vector<std::vector<int64_t>> pack_rows(std::span<const int64_t> row_tokens, int64_t budget_tokens) {
  std::vector<int64_t> order(row_tokens.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return row_tokens[a] > row_tokens[b]; });
  std::vector<std::vector<int64_t>> batches;
  std::vector<int64_t> used;
  for (const int64_t row : order) {
    size_t batch = 0;
    while (batch < batches.size() && used[batch] + row_tokens[row] > budget_tokens) ++batch;
    if (batch == batches.size()) {
      batches.emplace_back();
      used.push_back(0);
    }
    batches[batch].push_back(row);
    used[batch] += row_tokens[row];
  }
  for (auto& batch : batches) std::sort(batch.begin(), batch.end());
  return batches;
}

std::vector<TraceRange> split_traces(int64_t traces, int64_t steps) {
  TL_CHECK(steps >= 1 && traces >= 0, "split_traces: steps must be at least 1");
  std::vector<TraceRange> out;
  // The first trace t with t * steps / traces >= s is ceil(s * traces / steps).
  const auto first = [&](int64_t s) { return (s * traces + steps - 1) / steps; };
  for (int64_t s = 0; s < steps; ++s) out.push_back({first(s), first(s + 1)});
  return out;
}

}  // namespace throughline

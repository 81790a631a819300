#include "engine/kv_totals.h"

#include <algorithm>

namespace throughline {

CacheStats kv_totals(std::span<const ChunkKv> chunks) {
  CacheStats total;
  for (const auto& [stats, records] : chunks) {
    total.peak_tokens = std::max(total.peak_tokens, stats.peak_tokens);
    total.final_tokens = stats.final_tokens;
    total.attended_sum += stats.attended_sum;
    total.decode_steps += stats.decode_steps;
    total.compressions += stats.compressions;
    total.evicted_tokens += stats.evicted_tokens;
    total.lowered += stats.lowered;
    if (stats.lowered > 0 && (total.lowest_budget == 0 || stats.lowest_budget < total.lowest_budget))
      total.lowest_budget = stats.lowest_budget;
  }
  return total;
}

double mean_kv_tokens(const CacheStats& stats) {
  return static_cast<double>(stats.attended_sum) / static_cast<double>(std::max<int64_t>(1, stats.decode_steps));
}

}  // namespace throughline

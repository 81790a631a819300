// What a sample's KV cache did, over all its chunks: peak and sums, and the last chunk's final size.
#pragma once

#include <span>

#include "engine/request.h"

namespace throughline {

CacheStats kv_totals(std::span<const ChunkKv> chunks);
double mean_kv_tokens(const CacheStats& stats);  // attended a decode step; 0 without one

}  // namespace throughline

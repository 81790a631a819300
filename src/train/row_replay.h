// The forward attention of training rows through pages, bit for bit as the engine computed it (DESIGN 4.4).
//
// A row is cut at its eviction records. Each segment's K and V are appended to scratch pages and attended by
// ops::paged_attention, then the record is replayed by the cache's own compaction, so every query meets the slots that
// its token met when it was sampled. The reduction order depends on slots only: the same bits, in whatever slices the
// engine worked. One layer at a time on a pool of one layer. Not differentiable. Not thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cache/page_pool.h"
#include "cache/sequence_cache.h"

namespace throughline {

// What one record took in each layer, as sets of one layer: 1 (the whole layer) or kv_heads. REQUIRES: gone > 0.
int64_t sets_of_record(const EvictionRecord& record, int64_t layers, int64_t kv_heads);

class RowReplay {
 public:
  // For rows of at most `tokens` tokens of a model of so many layers.
  RowReplay(int64_t layers, int64_t q_heads, int64_t kv_heads, int64_t head_dim, at::ScalarType dtype, int64_t tokens,
            double scale);
  // Rotated q [tokens, q_heads, head_dim], rotated k and v [tokens, kv_heads, head_dim] of one row, contiguous, of the
  // dtype above -> out (as q) and lse (fp32 [tokens, q_heads]; undefined: not wanted) are written.
  void attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
              const std::vector<EvictionRecord>* evictions, const at::Tensor& out, const at::Tensor& lse);

 private:
  int64_t layers_, q_heads_;
  double scale_;
  std::unique_ptr<PagePool> pool_;
};

}  // namespace throughline

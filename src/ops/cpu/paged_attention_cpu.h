// Paged attention on the CPU: cuts a batch into tasks, runs them on ATen's threads, merges what was cut. Internal to
// ops; arguments are checked by the caller. Results do not depend on the cuts (in fast mode rounding may).
#pragma once

#include "ops/paged_attention.h"

namespace throughline::ops::cpu {

void paged_attention(const at::Tensor& q, const PagedKv& kv, const PagedBatch& batch, double scale,
                     AttentionProbe* probe, NumericMode mode, const at::Tensor& out);

// fp32 rows of some sequences, uncut, on the calling thread.
void paged_attention(const float* q, const PagedRows& rows, const PagedKv& kv, double scale, float* out);

// Adds to sums [kv_heads, >= length], rows contiguous.
void paged_attention_column_sums(const at::Tensor& q, const at::Tensor& lse, const PagedKv& kv, const PagedBatch& batch,
                                 int32_t seq, double scale, const at::Tensor& sums);

}  // namespace throughline::ops::cpu

// What the policies' scores are made of: softmax over candidates, pools along the position order, the choice itself.
//
// Everything here is fp32 on the CPU in a fixed order of operations: a score does not depend on thread count or
// company, so that an event picks the same tokens alone, in a batch, and when replayed.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "cache/policy.h"
#include "ops/summed_attention.h"

namespace throughline {

// softmax(q . k * scale) over the candidates, summed over the given rows of in.queries (a row may be named twice).
at::Tensor candidate_attention(const ScoreInputs& in, std::span<const int64_t> rows, ops::GroupVote vote);
std::vector<int64_t> all_rows(const ScoreInputs& in);

// x [q_heads, n] -> [kv_heads, n]: mean over each group of q_heads / kv_heads neighbours; groups = 1: over all.
at::Tensor group_mean(const at::Tensor& x, int64_t groups);

// The position itself, for policies that keep the newest: fp32 [1 or kv_heads, candidates]. Exact up to 2^24 tokens.
at::Tensor position_scores(const ScoreInputs& in);

// Pools of odd width along the last dimension of x [sets, n], stride 1, same length. kernel 1 returns x.
enum class PoolEdge { kRealElements, kCountPadding };  // what an average at the edge divides by
at::Tensor average_pool(const at::Tensor& x, int64_t kernel, PoolEdge edge = PoolEdge::kRealElements);
at::Tensor max_pool(const at::Tensor& x, int64_t kernel);

// Indices of the `count` lowest scores, ascending indices; of equal scores the smaller index goes first (the larger
// position wins). NaN counts as the lowest.
std::vector<int64_t> lowest(std::span<const float> scores, int64_t count);

}  // namespace throughline

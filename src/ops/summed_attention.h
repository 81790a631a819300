// Policy scoring: the attention that a few queries give to given keys, summed over the queries. An event of RPC or
// SnapKV is little else. No matrix of all queries and keys is ever whole: a thread holds the logits of some rows of one
// head.
//
// The order of operations is fixed by the shapes: results depend on neither threads nor company. CPU only.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace throughline::ops {

// How the query heads of one KV head's group vote.
enum class GroupVote {
  kEach,       // softmax per query head -> [q_heads, n]
  kMaxLogits,  // softmax of the largest logit over the group -> [kv_heads, n]
};

// softmax(q . k * scale) over the n keys, summed over the named rows of `queries` (a row may be named twice), fp32.
// queries fp32 [rows, q_heads, head_dim]; keys fp32 or bf16 [kv_heads, n, head_dim], head_dim contiguous. With bf16
// keys queries are rounded to bf16 as well, which is exact for those of a bf16 model. `key_scales`, if given (fp32
// [kv_heads, n]): a key is its row of `keys` times its scale, as ops/paged_attention.h gathers int8 keys.
at::Tensor summed_attention(const at::Tensor& queries, std::span<const int64_t> rows, const at::Tensor& keys,
                            double scale, GroupVote vote, const at::Tensor& key_scales = {});

// The same by ATen's operators; for tests.
at::Tensor summed_attention_reference(const at::Tensor& queries, std::span<const int64_t> rows, const at::Tensor& keys,
                                      double scale, GroupVote vote);

}  // namespace throughline::ops

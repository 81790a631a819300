// The vector kernels of training's attention on the CPU: one KV head of one row, its group's query heads together.
//
// Internal to ops. Tiles of (token, query head) pairs meet tiles of keys; everything in between is five small matrix
// products and an exponential: in fp32, or for bf16 rows in pairs of bf16 where the machine multiplies those. Keys may
// be taken in any order (softmax does not mind): ordered by when they were evicted, whole tiles are out of a query
// tile's sight and cost nothing. Every number is the same sequence of roundings however a row's queries are cut over
// calls of `forward`. Threads: pure functions of their arguments.
#pragma once

#include <cstdint>

namespace throughline::ops::cpu {

struct PackedTask {
  // At the row's first token: q, out, grad_out and grad_q at the group's first query head, k, v and theirs at the KV
  // head. fp32, or bf16 as its bits.
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  bool bf16 = false;
  int64_t q_stride = 0, kv_stride = 0;  // elements from token to token
  int64_t tokens = 0, group = 0, head_dim = 0;
  float scale = 1;
  const int32_t* order = nullptr;       // [tokens] places of the keys in the order to take them; null: as they lie
  const int32_t* evicted_at = nullptr;  // [tokens] by place; null: never
  int64_t lse_stride = 0;               // floats from token to token

  // forward: queries of tokens [from, to)
  int64_t from = 0, to = 0;
  void* out = nullptr;
  float* lse = nullptr;  // may be null

  // backward
  const void *out_read = nullptr, *grad_out = nullptr;
  const float* lse_read = nullptr;
  void *grad_q = nullptr, *grad_k = nullptr, *grad_v = nullptr;
};

struct PackedKernels {
  int64_t (*floats)(const PackedTask& task, bool backward);  // of scratch, 64-byte aligned
  void (*forward)(const PackedTask& task, float* scratch);
  void (*backward)(const PackedTask& task, float* scratch);
};

PackedKernels packed_kernels();  // the best for this machine

}  // namespace throughline::ops::cpu

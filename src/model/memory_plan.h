// What a model takes in memory: weights, K and V of one token over all layers, and how many tokens then fit.
// Units: bytes. A token count is the sum over all sequences held at once.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "model/config.h"

namespace throughline {

struct MemoryPlan {
  int64_t weight_bytes = 0;
  int64_t kv_bytes_per_token = 0;
  int64_t memory_bytes = 0;   // what may be used in all
  int64_t reserve_bytes = 0;  // kept for activations, logits and the program itself
  // Tokens of K and V that fit beside the weights; 0 when the weights alone do not.
  int64_t tokens_that_fit() const;
};

struct MemoryPlanOptions {
  int64_t weight_element_bytes = 2;  // as computed in
  int64_t weight_bytes = 0;          // of quantized weights, which stay as the files hold them; 0: plain
  int64_t kv_element_bytes = 2;
  int64_t memory_bytes = 0;  // 0: what the machine has available now
  int64_t step_rows = 512;   // rows of the largest forward pass (a prefill slice)
};

// What one optimizer step takes, trained in full by one process (train/update.h), beside the program itself.
//
// With P parameters of e bytes, n fed tokens in the largest micro-batch (a row is never split), h hidden, f ffn, V
// vocabulary, Q = q_heads * head_dim, K = kv_heads * head_dim:
//   weights      P e
//   gradients    4 P, and (4 + 2 e) V h while those of the head and the embedding meet
//   optimizer    8 P; and 4 P of masters when e is not 4
//   activations  kept:         layers n (2 h + 3 Q + 4 K + 2 f) e
//                              and a layer's slopes: 1.25 n (3 h + 2 f) e, a quarter of it for gaps in the heap
//                checkpointed: layers n h e    (a layer's input each)
//                              and one layer computed again with its slopes: 1.25 n (5 h + 3 Q + 4 K + 4 f) e
//   logits       48 MiB: three times a chunk of ops/token_logprobs
// A process of N that shard the optimizer (ZeRO-1) takes 1/N of its line.
struct UpdatePlan {
  int64_t weight_bytes = 0, gradient_bytes = 0, optimizer_bytes = 0, activation_bytes = 0, logit_bytes = 0;
  int64_t total_bytes() const {
    return weight_bytes + gradient_bytes + optimizer_bytes + activation_bytes + logit_bytes;
  }
};

struct UpdatePlanOptions {
  int64_t weight_element_bytes = 4;  // as computed in
  int64_t micro_batch_tokens = 8192;
  bool checkpoint_layers = true;
};
UpdatePlan plan_update(const ModelConfig& config, const UpdatePlanOptions& options);

// MemAvailable, or the cgroup's limit where that is lower.
Result<int64_t> available_memory_bytes();
Result<MemoryPlan> plan_memory(const ModelConfig& config, const MemoryPlanOptions& options);

}  // namespace throughline

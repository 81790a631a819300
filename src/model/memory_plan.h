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
  int64_t kv_element_bytes = 2;
  int64_t memory_bytes = 0;  // 0: what the machine has available now
  int64_t step_rows = 512;   // rows of the largest forward pass (a prefill slice)
};

// MemAvailable, or the cgroup's limit where that is lower.
Result<int64_t> available_memory_bytes();
Result<MemoryPlan> plan_memory(const ModelConfig& config, const MemoryPlanOptions& options);

}  // namespace throughline

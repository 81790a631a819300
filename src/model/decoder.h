// The decoder: one definition for every family, for sampling and for training.
//
// Weights are plain tensors [out, in]; the forward pass takes rows of any number of sequences at once and leaves
// everything about K, V and positions to the AttentionContext. Differentiable when grad mode is on. Weights are
// memory-mapped where dtype and layout allow it (the map lives as long as the tensors).
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cache/attention_context.h"
#include "model/config.h"
#include "ops/numeric.h"
#include "ops/rope.h"

namespace throughline {

struct DecoderLayer {
  at::Tensor input_norm, post_attention_norm;         // [hidden]
  at::Tensor q_weight, k_weight, v_weight, o_weight;  // [heads * head_dim, hidden], o: [hidden, q_heads * head_dim]
  at::Tensor q_bias, k_bias, v_bias, o_bias;          // undefined where the family has none
  at::Tensor q_norm, k_norm;                          // [head_dim], qwen3
  at::Tensor gate_weight, up_weight, down_weight;     // [ffn, hidden], down: [hidden, ffn]
  at::Tensor gate_bias, up_bias, down_bias;
};

class Decoder {
 public:
  struct LoadOptions {
    std::string dtype;  // fp32, bf16; empty: the checkpoint's (fp16 checkpoints compute in fp32)
    at::Device device = at::kCPU;
  };
  static Result<std::unique_ptr<Decoder>> load(const std::string& model_dir, const LoadOptions& options);

  const ModelConfig& config() const { return config_; }
  at::ScalarType dtype() const { return embedding_.scalar_type(); }
  const ops::RopeFrequencies& rope() const { return rope_; }
  double attention_scale() const;  // 1 / sqrt(head_dim)
  int64_t weight_bytes() const;

  // ids [rows] int64 -> hidden states after the last norm [rows, hidden].
  at::Tensor forward(const at::Tensor& ids, AttentionContext& attention, ops::NumericMode mode) const;
  // hidden [rows, hidden] -> fp32 logits [rows, vocab].
  at::Tensor logits(const at::Tensor& hidden, ops::NumericMode mode) const;

  // (Hugging Face name, tensor), in file order; the tied head is not repeated.
  std::vector<std::pair<std::string, at::Tensor>> parameters() const;

 private:
  Decoder() = default;
  ModelConfig config_;
  ops::RopeFrequencies rope_;
  at::Tensor embedding_, final_norm_, head_;  // head_ is embedding_ when tied
  std::vector<DecoderLayer> layers_;
};

}  // namespace throughline

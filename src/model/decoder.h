// The decoder: one definition for every family, for sampling and for training.
//
// Weights are plain tensors [out, in]; the forward pass takes rows of any number of sequences at once and leaves
// everything about K, V and positions to the AttentionContext. Differentiable when grad mode is on. Weights are
// memory-mapped where dtype and layout allow it (the map lives as long as the tensors).
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cache/attention_context.h"
#include "model/config.h"
#include "ops/numeric.h"
#include "ops/products.h"
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

class WeightReader;

class Decoder {
 public:
  struct LoadOptions {
    std::string dtype;  // fp32, bf16; empty: the checkpoint's (fp16 checkpoints compute in fp32)
    // int8, int4: matrices (embedding and head included) quantized while loading; empty: as the files hold them.
    // Such a model can sample but not train.
    std::string weights;
    // False: weights are copied into huge pages (ops/huge_pages.h), not used from the mapped files.
    bool mmap = true;
    at::Device device = at::kCPU;
  };
  static Result<std::unique_ptr<Decoder>> load(const std::string& model_dir, const LoadOptions& options);

  const ModelConfig& config() const { return config_; }
  at::ScalarType dtype() const { return dtype_; }  // computed in
  ops::WeightFormat weight_format() const { return format_; }
  const ops::RopeFrequencies& rope() const { return rope_; }
  double attention_scale() const;  // 1 / sqrt(head_dim)
  int64_t weight_bytes() const;
  // Of these one step's: all but an untied embedding, of which it reads a row a sequence.
  int64_t step_weight_bytes() const;

  struct ForwardOptions {
    // Training: keep only each layer's input and compute the layer again in the backward pass (then `attention` must
    // live until the backward pass has ended, and give the same for the same layer and inputs).
    bool checkpoint_layers = false;
    // int64 rows whose hidden states are wanted, in this order; undefined: all. For the others the last layer ends with
    // K, V and attention (prefill wants at most one row of a sequence). Not in training.
    at::Tensor wanted_rows;
  };
  // ids [rows] int64 -> hidden states after the last norm [rows or wanted rows, hidden].
  at::Tensor forward(const at::Tensor& ids, AttentionContext& attention, ops::NumericMode mode,
                     const ForwardOptions& options) const;
  at::Tensor forward(const at::Tensor& ids, AttentionContext& attention, ops::NumericMode mode) const {
    return forward(ids, attention, mode, ForwardOptions());
  }
  // hidden [rows, hidden] -> fp32 logits [rows, vocab].
  at::Tensor logits(const at::Tensor& hidden, ops::NumericMode mode) const;

  // [vocab, hidden]; the embedding when tied. REQUIRES: plain weights.
  const at::Tensor& head() const { return head_; }

  // (Hugging Face name, tensor), in file order; the tied head is not repeated. A quantized weight is followed by its
  // scales, NAME + "_scale".
  std::vector<std::pair<std::string, at::Tensor>> parameters() const;

  // Moves all weights out of the file map into one vector of their own, flat_weights(), in the order of parameters();
  // each becomes a leaf that requires grad and a view of it. Writing to flat_weights() (without grad mode) changes the
  // model, which is how an update and a checkpoint get in. A second call does nothing.
  void make_trainable();
  const at::Tensor& flat_weights() const { return flat_weights_; }  // undefined before make_trainable()
  // A model with its own copy of the weights (make_trainable() done), to sample from while this one is updated.
  std::unique_ptr<Decoder> clone() const;

 private:
  friend class PackedDecoder;
  Decoder() = default;
  // training: through the nodes of layer_autograd.h. `wanted`: rows of the result, if defined.
  at::Tensor layer_forward(int64_t layer, const at::Tensor& x, AttentionContext& attention, ops::NumericMode mode,
                           bool training, const at::Tensor& wanted) const;
  // The same roundings without a graph and in fewer passes; any weight format. Takes the embedded rows to the hidden
  // states after the last norm.
  at::Tensor infer(at::Tensor x, AttentionContext& attention, ops::NumericMode mode, const at::Tensor& wanted) const;
  struct InferenceRows;
  void infer_layer(int64_t layer, InferenceRows& rows, AttentionContext& attention, ops::NumericMode mode,
                   const at::Tensor& wanted) const;
  at::Tensor embed(const at::Tensor& ids) const;
  // A matrix [out, in] of either format, as the products read it.
  ops::LinearWeight linear(const at::Tensor& values, const at::Tensor& scales, const at::Tensor& bias, int64_t out,
                           int64_t in) const;
  void take_weights(WeightReader& reader, bool stored_quantized);
  // Every weight, in the order of parameters(); the tied head is not visited.
  void visit_weights(const std::function<void(const std::string& name, at::Tensor& weight)>& visit);
  ModelConfig config_;
  ops::RopeFrequencies rope_;
  at::ScalarType dtype_ = at::kFloat;
  ops::WeightFormat format_ = ops::WeightFormat::kPlain;
  at::Tensor embedding_, final_norm_, head_;  // head_ is embedding_ when tied
  at::Tensor flat_weights_;
  std::vector<DecoderLayer> layers_;
  // Quantized models only: the matrices above are then packed bytes, and these hold their scales under the same names.
  at::Tensor embedding_scales_, head_scales_;
  std::vector<DecoderLayer> layer_scales_;
};

}  // namespace throughline

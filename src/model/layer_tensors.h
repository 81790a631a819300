// The tensors of a decoder layer with their Hugging Face names and shapes: one list for loading, saving and synthesis.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/decoder.h"

namespace throughline {

constexpr const char* kEmbeddingName = "model.embed_tokens.weight";
constexpr const char* kFinalNormName = "model.norm.weight";
constexpr const char* kHeadName = "lm_head.weight";
constexpr const char* kScaleSuffix = "_scale";  // of a quantized weight's scales

std::string layer_prefix(int64_t layer);  // "model.layers.3."

// Calls visit(name after the prefix, member of layer, shape) for every tensor the config gives a layer.
template <class Layer, class Visit>
void visit_layer(const ModelConfig& c, Layer& layer, const Visit& visit) {
  const int64_t q = c.q_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  using Shape = std::vector<int64_t>;
  visit("input_layernorm.weight", layer.input_norm, Shape{c.hidden});
  visit("mlp.down_proj.weight", layer.down_weight, Shape{c.hidden, c.ffn});
  visit("mlp.gate_proj.weight", layer.gate_weight, Shape{c.ffn, c.hidden});
  visit("mlp.up_proj.weight", layer.up_weight, Shape{c.ffn, c.hidden});
  if (c.mlp_bias) {
    visit("mlp.down_proj.bias", layer.down_bias, Shape{c.hidden});
    visit("mlp.gate_proj.bias", layer.gate_bias, Shape{c.ffn});
    visit("mlp.up_proj.bias", layer.up_bias, Shape{c.ffn});
  }
  visit("post_attention_layernorm.weight", layer.post_attention_norm, Shape{c.hidden});
  if (c.qk_norm) {
    visit("self_attn.q_norm.weight", layer.q_norm, Shape{c.head_dim});
    visit("self_attn.k_norm.weight", layer.k_norm, Shape{c.head_dim});
  }
  if (c.qkv_bias) {
    visit("self_attn.q_proj.bias", layer.q_bias, Shape{q});
    visit("self_attn.k_proj.bias", layer.k_bias, Shape{kv});
    visit("self_attn.v_proj.bias", layer.v_bias, Shape{kv});
  }
  if (c.output_bias) visit("self_attn.o_proj.bias", layer.o_bias, Shape{c.hidden});
  visit("self_attn.q_proj.weight", layer.q_weight, Shape{q, c.hidden});
  visit("self_attn.k_proj.weight", layer.k_weight, Shape{kv, c.hidden});
  visit("self_attn.v_proj.weight", layer.v_weight, Shape{kv, c.hidden});
  visit("self_attn.o_proj.weight", layer.o_weight, Shape{c.hidden, q});
}

struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};
// All tensors of a model in the order of Decoder::parameters().
std::vector<NamedShape> model_tensors(const ModelConfig& config);

}  // namespace throughline

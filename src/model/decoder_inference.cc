// The decoder without a graph: loading and using weights of every format.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/embedding.h>

#include "model/decoder.h"
#include "model/layer_tensors.h"
#include "model/weights.h"
#include "ops/linear.h"
#include "ops/rows.h"

namespace throughline {

// `stored_quantized`: the files hold the packed layout; else matrices are quantized here if the format says so.
void Decoder::take_weights(WeightReader& reader, bool stored_quantized) {
  const ModelConfig& c = config_;
  const auto take = [&](const std::string& name, const std::vector<int64_t>& shape, at::Tensor& weight,
                        at::Tensor& scales) {
    if (format_ == ops::WeightFormat::kPlain) {
      weight = reader.take(name, shape);
    } else if (shape.size() != 2) {
      weight = reader.take(name, shape);
      if (weight.defined()) weight = weight.clone();  // so that nothing keeps the file mapped
    } else if (stored_quantized) {
      const ops::QuantizedShape packed = ops::quantized_shape(format_, shape[0], shape[1]);
      weight = reader.take_as(name, TensorDtype::kU8, packed.values);
      const auto type = format_ == ops::WeightFormat::kInt8 ? TensorDtype::kF32 : TensorDtype::kBF16;
      scales = reader.take_as(name + kScaleSuffix, type, packed.scales);
    } else {
      const at::Tensor plain = reader.take(name, shape);
      if (!plain.defined()) return;
      ops::QuantizedWeight packed = ops::quantize_weight(plain, format_);
      weight = packed.values;
      scales = packed.scales;
    }
  };
  take(kEmbeddingName, {c.vocab, c.hidden}, embedding_, embedding_scales_);
  for (int64_t l = 0; l < c.layers; ++l) {
    const std::string prefix = layer_prefix(l);
    std::vector<at::Tensor*> scales;
    visit_layer(c, layer_scales_.emplace_back(),
                [&](const char*, at::Tensor& tensor, const std::vector<int64_t>&) { scales.push_back(&tensor); });
    size_t i = 0;
    visit_layer(c, layers_.emplace_back(),
                [&](const char* name, at::Tensor& tensor, const std::vector<int64_t>& shape) {
                  take(prefix + name, shape, tensor, *scales[i++]);
                });
    reader.ignore(prefix + "self_attn.rotary_emb.inv_freq");
  }
  at::Tensor none;
  take(kFinalNormName, {c.hidden}, final_norm_, none);
  if (c.tied_embeddings) {
    head_ = embedding_;
    head_scales_ = embedding_scales_;
  } else {
    take(kHeadName, {c.vocab, c.hidden}, head_, head_scales_);
  }
}

ops::LinearWeight Decoder::linear(const at::Tensor& values, const at::Tensor& scales, const at::Tensor& bias,
                                  int64_t out, int64_t in) const {
  if (format_ == ops::WeightFormat::kPlain) return {values, bias};
  return {ops::QuantizedWeight{values, scales}, bias, format_, out, in};
}

at::Tensor Decoder::embed(const at::Tensor& ids) const {
  if (format_ == ops::WeightFormat::kPlain) return at::embedding(embedding_, ids);
  return ops::quantized_rows({embedding_, embedding_scales_}, format_, ids.contiguous(), config_.hidden, dtype_);
}

at::Tensor Decoder::layer_inference(int64_t layer, const at::Tensor& input, AttentionContext& attention,
                                    ops::NumericMode mode, const at::Tensor& wanted) const {
  const ModelConfig& c = config_;
  const DecoderLayer &w = layers_[static_cast<size_t>(layer)], &s = layer_scales_[static_cast<size_t>(layer)];
  const int64_t rows = input.size(0), q_width = c.q_heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  at::Tensor h = ops::rms_norm(input, w.input_norm, c.norm_eps);
  const auto qkv = ops::linears(h,
                                {linear(w.q_weight, s.q_weight, w.q_bias, q_width, c.hidden),
                                 linear(w.k_weight, s.k_weight, w.k_bias, kv_width, c.hidden),
                                 linear(w.v_weight, s.v_weight, w.v_bias, kv_width, c.hidden)},
                                mode);
  at::Tensor q = qkv[0].view({rows, c.q_heads, c.head_dim}), k = qkv[1].view({rows, c.kv_heads, c.head_dim});
  if (c.qk_norm) {
    q = ops::rms_norm(q, w.q_norm, c.norm_eps);
    k = ops::rms_norm(k, w.k_norm, c.norm_eps);
  }
  const at::Tensor v = qkv[2].view({rows, c.kv_heads, c.head_dim});
  h = ops::selected_rows(attention.attend(static_cast<int>(layer), q, k, v).reshape({rows, q_width}), wanted);
  const at::Tensor x = ops::linear_add(ops::selected_rows(input, wanted), h,
                                       linear(w.o_weight, s.o_weight, w.o_bias, c.hidden, q_width), mode);
  h = ops::rms_norm(x, w.post_attention_norm, c.norm_eps);
  h = ops::linear_silu_mul(h, linear(w.gate_weight, s.gate_weight, w.gate_bias, c.ffn, c.hidden),
                           linear(w.up_weight, s.up_weight, w.up_bias, c.ffn, c.hidden), mode);
  return ops::linear_add(x, h, linear(w.down_weight, s.down_weight, w.down_bias, c.hidden, c.ffn), mode);
}

at::Tensor Decoder::logits(const at::Tensor& hidden, ops::NumericMode mode) const {
  const bool quantized = format_ != ops::WeightFormat::kPlain;
  if (quantized || (!at::GradMode::is_enabled() && ops::fused_products(hidden, mode)))
    return ops::linear_to_float(hidden, linear(head_, head_scales_, {}, config_.vocab, config_.hidden), mode);
  return ops::linear(hidden, head_, at::Tensor(), mode).to(at::kFloat);
}

}  // namespace throughline

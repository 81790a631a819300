// The decoder without a graph: loading and using weights of every format.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>

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
      weight = reader.take_as(name, TensorDtype::kU8, {packed.values.begin(), packed.values.end()});
      const auto type = format_ == ops::WeightFormat::kInt8 ? TensorDtype::kF32 : TensorDtype::kBF16;
      scales = reader.take_as(name + kScaleSuffix, type, {packed.scales.begin(), packed.scales.end()});
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

// The rows of one pass, and room for what a layer computes of them: made once a pass.
struct Decoder::InferenceRows {
  at::Tensor x;         // [rows, hidden], the residual stream
  at::Tensor h;         // [rows, hidden]
  at::Tensor q, k, v;   // [rows, heads, head_dim]
  at::Tensor attended;  // like q
  at::Tensor joined;    // the same as [rows, q_heads * head_dim]
  at::Tensor ffn;       // [rows, ffn]

  InferenceRows(at::Tensor embedded, const ModelConfig& c) : x(std::move(embedded)) {
    const auto room = [&](at::IntArrayRef sizes) { return at::empty(sizes, x.options()); };
    const int64_t rows = x.size(0);
    h = room({rows, c.hidden});
    q = room({rows, c.q_heads, c.head_dim});
    k = room({rows, c.kv_heads, c.head_dim});
    v = room({rows, c.kv_heads, c.head_dim});
    attended = room({rows, c.q_heads, c.head_dim});
    joined = attended.view({rows, c.q_heads * c.head_dim});
    ffn = room({rows, c.ffn});
  }

  void keep(const at::Tensor& wanted) {  // of what is needed from attention on
    x = ops::selected_rows(x, wanted);
    attended = attended.narrow(0, 0, wanted.size(0));
    joined = joined.narrow(0, 0, wanted.size(0));
    h = h.narrow(0, 0, wanted.size(0));
    ffn = ffn.narrow(0, 0, wanted.size(0));
  }
};

void Decoder::infer_layer(int64_t layer, InferenceRows& r, AttentionContext& attention, ops::NumericMode mode,
                          const at::Tensor& wanted) const {
  const ModelConfig& c = config_;
  const DecoderLayer &w = layers_[static_cast<size_t>(layer)], &s = layer_scales_[static_cast<size_t>(layer)];
  const int64_t q_width = c.q_heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  ops::rms_norm(r.x, w.input_norm, c.norm_eps, r.h);
  const ops::LinearWeight projections[] = {linear(w.q_weight, s.q_weight, w.q_bias, q_width, c.hidden),
                                           linear(w.k_weight, s.k_weight, w.k_bias, kv_width, c.hidden),
                                           linear(w.v_weight, s.v_weight, w.v_bias, kv_width, c.hidden)};
  const at::Tensor projected[] = {r.q, r.k, r.v};
  ops::linears_into(r.h, projections, projected, mode);
  if (wanted.defined()) r.keep(wanted);
  attention.attend_into(static_cast<int>(layer), {w.q_norm, w.k_norm, c.norm_eps}, r.q, r.k, r.v, wanted, r.attended);
  ops::linear_add(r.x, r.joined, linear(w.o_weight, s.o_weight, w.o_bias, c.hidden, q_width), mode, r.x);
  ops::rms_norm(r.x, w.post_attention_norm, c.norm_eps, r.h);
  ops::linear_silu_mul(r.h, linear(w.gate_weight, s.gate_weight, w.gate_bias, c.ffn, c.hidden),
                       linear(w.up_weight, s.up_weight, w.up_bias, c.ffn, c.hidden), mode, r.ffn);
  ops::linear_add(r.x, r.ffn, linear(w.down_weight, s.down_weight, w.down_bias, c.hidden, c.ffn), mode, r.x);
}

at::Tensor Decoder::infer(at::Tensor embedded, AttentionContext& attention, ops::NumericMode mode,
                          const at::Tensor& wanted) const {
  const at::NoGradGuard no_grad;
  InferenceRows rows(std::move(embedded), config_);
  for (int64_t layer = 0; layer < config_.layers; ++layer)
    infer_layer(layer, rows, attention, mode, layer + 1 == config_.layers ? wanted : at::Tensor());
  return ops::rms_norm(rows.x, final_norm_, config_.norm_eps, rows.h);
}

at::Tensor Decoder::logits(const at::Tensor& hidden, ops::NumericMode mode) const {
  const bool quantized = format_ != ops::WeightFormat::kPlain;
  if (quantized || (!at::GradMode::is_enabled() && ops::fused_products(hidden, mode)))
    return ops::linear_to_float(hidden, linear(head_, head_scales_, {}, config_.vocab, config_.hidden), mode);
  return ops::linear(hidden, head_, at::Tensor(), mode).to(at::kFloat);
}

}  // namespace throughline

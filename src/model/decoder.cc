#include "model/decoder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <cmath>

#include "model/checkpoint_layer.h"
#include "model/layer_autograd.h"
#include "model/layer_tensors.h"
#include "model/rope.h"
#include "model/weights.h"
#include "ops/linear.h"
#include "ops/rows.h"

namespace throughline {

namespace {

Result<ops::WeightFormat> wanted_format(const std::string& option, const ModelConfig& config,
                                        const std::string& model_dir) {
  if (!option.empty() && option != "int8" && option != "int4")
    return Error{fmt::format("\"{}\" is not supported", option), "--weights", "use int8 or int4"};
  if (!config.weights.empty() && !option.empty() && option != config.weights) {
    return Error{fmt::format("the files hold {} weights", config.weights), model_dir,
                 "leave --weights out, or quantize the original checkpoint"};
  }
  const std::string& name = option.empty() ? config.weights : option;
  if (name.empty()) return ops::WeightFormat::kPlain;
  return name == "int8" ? ops::WeightFormat::kInt8 : ops::WeightFormat::kInt4;
}

}  // namespace

Result<std::unique_ptr<Decoder>> Decoder::load(const std::string& model_dir, const LoadOptions& options) {
  TL_TRY(const ModelConfig config, load_config(model_dir));
  TL_TRY(Checkpoint checkpoint, Checkpoint::open_directory(model_dir));
  TL_TRY(const at::ScalarType dtype, compute_dtype(options.dtype, checkpoint_dtype(config, checkpoint)));
  TL_TRY(const ops::WeightFormat format, wanted_format(options.weights, config, model_dir));
  WeightReader reader(std::move(checkpoint), dtype, options.device);
  // What is quantized now lies in huge pages of its own.
  if (!options.mmap && (format == ops::WeightFormat::kPlain || !config.weights.empty())) reader.copy_to_huge_pages();
  auto decoder = std::unique_ptr<Decoder>(new Decoder());
  decoder->config_ = config;
  decoder->rope_ = rope_frequencies(config);
  decoder->dtype_ = dtype;
  decoder->format_ = format;
  decoder->take_weights(reader, !config.weights.empty());
  if (config.tied_embeddings) reader.ignore(kHeadName);
  TL_TRY_STATUS(reader.finish());
  if (format != ops::WeightFormat::kPlain) {
    decoder->config_.weights = format == ops::WeightFormat::kInt8 ? "int8" : "int4";
    decoder->config_.dtype = dtype == at::kFloat ? "float32" : "bfloat16";
  }
  return decoder;
}

double Decoder::attention_scale() const { return 1.0 / std::sqrt(static_cast<double>(config_.head_dim)); }

int64_t Decoder::weight_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : parameters()) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

int64_t Decoder::step_weight_bytes() const {
  if (config_.tied_embeddings) return weight_bytes();
  const auto scales = embedding_scales_.defined() ? embedding_scales_.nbytes() : 0;
  return weight_bytes() - static_cast<int64_t>(embedding_.nbytes() + scales);
}

at::Tensor Decoder::layer_forward(int64_t layer, const at::Tensor& input, AttentionContext& attention,
                                  ops::NumericMode mode, bool training, const at::Tensor& wanted) const {
  const ModelConfig& c = config_;
  const DecoderLayer& w = layers_[static_cast<size_t>(layer)];
  const int64_t rows = input.size(0);
  if (training) {
    const LayerProjections in = attention_inputs(input, w, c, mode);
    const at::Tensor attended = attention.attend(static_cast<int>(layer), in.q, in.k, in.v);
    return layer_output(input, attended.reshape({rows, c.q_heads * c.head_dim}), w, c, mode);
  }
  at::Tensor h = ops::rms_norm(input, w.input_norm, c.norm_eps);
  at::Tensor q = ops::linear(h, w.q_weight, w.q_bias, mode).view({rows, c.q_heads, c.head_dim});
  at::Tensor k = ops::linear(h, w.k_weight, w.k_bias, mode).view({rows, c.kv_heads, c.head_dim});
  const at::Tensor v = ops::linear(h, w.v_weight, w.v_bias, mode).view({rows, c.kv_heads, c.head_dim});
  if (c.qk_norm) {
    q = ops::rms_norm(q, w.q_norm, c.norm_eps);
    k = ops::rms_norm(k, w.k_norm, c.norm_eps);
  }
  h = ops::selected_rows(attention.attend(static_cast<int>(layer), q, k, v).reshape({rows, c.q_heads * c.head_dim}),
                         wanted);
  const at::Tensor x = ops::selected_rows(input, wanted).add(ops::linear(h, w.o_weight, w.o_bias, mode));
  h = ops::rms_norm(x, w.post_attention_norm, c.norm_eps);
  const at::Tensor gate = ops::linear(h, w.gate_weight, w.gate_bias, mode);
  const at::Tensor up = ops::linear(h, w.up_weight, w.up_bias, mode);
  return x.add(ops::linear(ops::silu_mul(gate, up), w.down_weight, w.down_bias, mode));
}

at::Tensor Decoder::forward(const at::Tensor& ids, AttentionContext& attention, ops::NumericMode mode,
                            const ForwardOptions& options) const {
  at::Tensor x = embed(ids);
  // Not asked again inside a layer: a checkpointed layer's first pass runs without grad mode and must round as its
  // second.
  const bool training = at::GradMode::is_enabled() && flat_weights_.defined();
  const bool quantized = format_ != ops::WeightFormat::kPlain;
  if (quantized || (!at::GradMode::is_enabled() && ops::fused_products(x, mode)))
    return infer(std::move(x), attention, mode, options.wanted_rows);
  const bool checkpoint = options.checkpoint_layers && at::GradMode::is_enabled();
  TL_CHECK(!training || !options.wanted_rows.defined(), "training wants all rows");
  if (checkpoint && !x.requires_grad()) x = x.detach().requires_grad_(true);  // a frozen embedding: gradients must flow
  for (int64_t l = 0; l < config_.layers; ++l) {
    if (checkpoint) {
      x = checkpointed(x, [this, l, &attention, mode, training](const at::Tensor& input) {
        return layer_forward(l, input, attention, mode, training, {});
      });
    } else {
      const bool last = l + 1 == config_.layers;
      x = layer_forward(l, x, attention, mode, training, last ? options.wanted_rows : at::Tensor());
    }
  }
  return ops::rms_norm(x, final_norm_, config_.norm_eps);
}

void Decoder::visit_weights(const std::function<void(const std::string&, at::Tensor&)>& visit) {
  const auto both = [&](const std::string& name, at::Tensor& weight, at::Tensor* scales) {
    visit(name, weight);
    if (scales != nullptr && scales->defined()) visit(name + kScaleSuffix, *scales);
  };
  both(kEmbeddingName, embedding_, &embedding_scales_);
  for (size_t l = 0; l < layers_.size(); ++l) {
    const std::string prefix = layer_prefix(static_cast<int64_t>(l));
    std::vector<at::Tensor*> scales;
    if (!layer_scales_.empty()) {
      visit_layer(config_, layer_scales_[l],
                  [&](const char*, at::Tensor& tensor, const std::vector<int64_t>&) { scales.push_back(&tensor); });
    }
    size_t i = 0;
    visit_layer(config_, layers_[l], [&](const char* name, at::Tensor& tensor, const std::vector<int64_t>&) {
      both(prefix + name, tensor, scales.empty() ? nullptr : scales[i++]);
    });
  }
  visit(kFinalNormName, final_norm_);
  if (!config_.tied_embeddings) both(kHeadName, head_, &head_scales_);
}

std::vector<std::pair<std::string, at::Tensor>> Decoder::parameters() const {
  std::vector<std::pair<std::string, at::Tensor>> out;
  const_cast<Decoder*>(this)->visit_weights([&](const std::string& name, at::Tensor& w) { out.emplace_back(name, w); });
  return out;
}

void Decoder::make_trainable() {
  if (flat_weights_.defined()) return;
  TL_CHECK(format_ == ops::WeightFormat::kPlain, "quantized weights cannot be trained");
  const at::NoGradGuard guard;
  int64_t elements = 0;
  visit_weights([&](const std::string&, at::Tensor& weight) { elements += weight.numel(); });
  flat_weights_ = at::empty({elements}, embedding_.options().requires_grad(false));
  int64_t from = 0;
  visit_weights([&](const std::string&, at::Tensor& weight) {
    at::Tensor part = flat_weights_.narrow(0, from, weight.numel()).view(weight.sizes());
    part.copy_(weight);
    from += weight.numel();
    weight = part.detach().requires_grad_(true);
  });
  if (config_.tied_embeddings) head_ = embedding_;
}

std::unique_ptr<Decoder> Decoder::clone() const {
  auto copy = std::unique_ptr<Decoder>(new Decoder(*this));
  copy->flat_weights_ = at::Tensor();
  copy->make_trainable();
  return copy;
}

}  // namespace throughline

#include "model/layer_tensors.h"

namespace throughline {

std::string layer_prefix(int64_t layer) { return "model.layers." + std::to_string(layer) + "."; }

std::vector<NamedShape> model_tensors(const ModelConfig& config) {
  std::vector<NamedShape> out;
  out.push_back({kEmbeddingName, {config.vocab, config.hidden}});
  const DecoderLayer empty;
  for (int64_t l = 0; l < config.layers; ++l) {
    const std::string prefix = layer_prefix(l);
    visit_layer(config, empty, [&](const char* name, const at::Tensor&, const std::vector<int64_t>& shape) {
      out.push_back({prefix + name, shape});
    });
  }
  out.push_back({kFinalNormName, {config.hidden}});
  if (!config.tied_embeddings) out.push_back({kHeadName, {config.vocab, config.hidden}});
  return out;
}

}  // namespace throughline

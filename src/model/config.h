// A decoder's shape, from Hugging Face's config.json as transformers 4 and 5 write it.
//
// Families: qwen2 (attention biases), qwen3 (QK-norm, explicit head_dim), llama. What is not supported is refused by
// name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

enum class ModelFamily { kQwen2, kQwen3, kLlama };

struct RopeConfig {
  std::string kind = "default";  // default, linear, dynamic, llama3, yarn
  double theta = 10000;
  double factor = 1;
  int64_t original_max_positions = 0;  // 0: max_positions
  // llama3
  double low_freq_factor = 1, high_freq_factor = 4;
  // yarn
  double beta_fast = 32, beta_slow = 1;
  double attention_factor = 0;  // 0: derived
  double mscale = 0, mscale_all_dim = 0;
  bool truncate = true;
};

struct ModelConfig {
  ModelFamily family = ModelFamily::kLlama;
  int64_t hidden = 0, layers = 0, q_heads = 0, kv_heads = 0, head_dim = 0, ffn = 0, vocab = 0;
  int64_t max_positions = 0;  // max_position_embeddings; yarn: at least factor * original; dynamic: the original length
  double norm_eps = 1e-6;
  bool tied_embeddings = false;
  bool qkv_bias = false, output_bias = false, mlp_bias = false, qk_norm = false;
  RopeConfig rope;
  std::string dtype;             // float32, float16, bfloat16; empty: config.json is silent, the weights say it
  std::string weights;           // int8 or int4: the files hold docs/quantization.md's layout; empty: plain
  std::vector<int32_t> eos_ids;  // of config.json alone
  int32_t bos_id = -1;

  int64_t parameters() const;  // tied head counted once
};

// `where` names the text in errors. Every value is range-checked: one clear line with file and field.
Result<ModelConfig> parse_config(const Json& json, const std::string& where);
Result<ModelConfig> load_config_file(const std::string& path);
Result<ModelConfig> load_config(const std::string& model_dir);
Json config_to_json(const ModelConfig& config);  // as transformers reads it

// generation_config.json; every field optional. eos_ids here is the union with config.json's.
struct GenerationDefaults {
  std::vector<int32_t> eos_ids;
  bool has_temperature = false, has_top_p = false, has_top_k = false, has_min_p = false, has_repetition_penalty = false;
  double temperature = 1, top_p = 1, min_p = 0, repetition_penalty = 1;
  int64_t top_k = 0;
};
Result<GenerationDefaults> load_generation_defaults(const std::string& model_dir, const ModelConfig& config);

}  // namespace throughline

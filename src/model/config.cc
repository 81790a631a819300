#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/files.h"
#include "model/field_reader.h"

namespace throughline {
namespace {

// Far above any real config; keeps an absurd one from costing time (keys are looked up one by one).
constexpr size_t kMaxConfigBytes = 256 << 10;

struct FamilyRow {
  const char* model_type;
  const char* architecture;
  ModelFamily family;
};
constexpr std::array<FamilyRow, 3> kFamilies = {{{"qwen2", "Qwen2ForCausalLM", ModelFamily::kQwen2},
                                                 {"qwen3", "Qwen3ForCausalLM", ModelFamily::kQwen3},
                                                 {"llama", "LlamaForCausalLM", ModelFamily::kLlama}}};

// Fields that change what the model computes and that this decoder does not have. Refused unless absent, null, false,
// zero or empty.
constexpr const char* kUnsupportedFields[] = {
    "dual_chunk_attention_config",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "logit_softcapping",
    "attention_multiplier",
    "embedding_multiplier",
    "residual_multiplier",
    "logits_scaling",
    "logit_scale",
    "attention_chunk_size",
    "no_rope_layers",
    "num_experts",
    "num_local_experts",
    "use_bidirectional_attention",
    "clip_qkv",
    "use_alibi",
    "alibi",
    "attention_sinks",
    "cross_layer_sharing",
    "kv_lora_rank",
    "vision_config",
    "per_layer_config",
    "use_mrope",
    "compression_config",
};

bool says_nothing(const Json& value) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0;
  return value.empty();
}

void refuse_unsupported(const Json& json, FieldReader& in) {
  for (const char* name : kUnsupportedFields) {
    if (json.contains(name) && !says_nothing(json[name])) in.fail(name, "is not supported yet");
  }
  if (in.boolean("use_sliding_window", false)) {
    in.fail("use_sliding_window", "sliding_window layers with use_sliding_window=true are not supported yet",
            "use a checkpoint with full attention in every layer");
  }
  if (const Json* types = in.find("layer_types")) {
    if (!types->is_array()) in.fail("layer_types", "must be a list");
    for (const Json& type : *types) {
      if (type != "full_attention")
        in.fail("layer_types", fmt::format("{} layers are not supported yet", dump_json(type)));
    }
  }
  const std::string act = in.text("hidden_act", "silu");
  if (act != "silu" && act != "swish") {
    in.fail("hidden_act", fmt::format("\"{}\" is not supported", act), "only silu is");
  }
  if (in.number("partial_rotary_factor", 1, -1e9, 1e9) != 1) {
    in.fail("partial_rotary_factor", "only 1 is supported");
  }
  if (!in.boolean("is_causal", true)) in.fail("is_causal", "only causal attention is supported");
  if (in.boolean("add_cross_attention", false)) in.fail("add_cross_attention", "is not supported");
}

// Our own format only (docs/quantization.md).
void read_quantization(const Json& json, FieldReader& in, ModelConfig& config) {
  if (!json.contains("quantization_config") || says_nothing(json["quantization_config"])) return;
  const Json& object = json["quantization_config"];
  const auto word = [&](const char* name) {
    return object.is_object() && object.contains(name) && object[name].is_string() ? object[name].get<std::string>()
                                                                                   : std::string();
  };
  if (word("quant_method") != "throughline") {
    return in.fail(
        "quantization_config", "is not supported yet",
        "only what `throughline quantize` wrote; take the unquantized checkpoint and --weights int8 or int4");
  }
  config.weights = word("weights");
  if (config.weights != "int8" && config.weights != "int4")
    in.fail("quantization_config.weights", fmt::format("\"{}\" is not supported", config.weights), "use int8 or int4");
}

void read_family(FieldReader& in, ModelConfig& config) {
  const std::string type = in.text("model_type", "");
  const FamilyRow* row = nullptr;
  for (const FamilyRow& r : kFamilies) {
    if (type == r.model_type) row = &r;
  }
  if (row == nullptr) {
    in.fail("model_type", type.empty() ? "is missing" : fmt::format("\"{}\" is not supported", type),
            "supported: qwen2, qwen3, llama");
    return;
  }
  config.family = row->family;
  if (const Json* names = in.find("architectures")) {
    if (!names->is_array()) return in.fail("architectures", "must be a list");
    for (const Json& name : *names) {
      if (name == row->architecture || (name == "LLaMAForCausalLM" && config.family == ModelFamily::kLlama)) continue;
      in.fail("architectures", fmt::format("{} is not supported for model_type {}", dump_json(name), type),
              fmt::format("only {} is", row->architecture));
    }
  }
}

void read_sizes(FieldReader& in, ModelConfig& config) {
  config.hidden = in.required_integer("hidden_size", 1, 1 << 20);
  config.layers = in.required_integer("num_hidden_layers", 1, 4096);
  config.q_heads = in.required_integer("num_attention_heads", 1, 1 << 16);
  config.kv_heads = in.integer("num_key_value_heads", config.q_heads, 1, 1 << 16);
  config.ffn = in.required_integer("intermediate_size", 1, 1 << 24);
  config.vocab = in.required_integer("vocab_size", 1, 1 << 24);
  config.max_positions =
      in.integer("max_position_embeddings", config.family == ModelFamily::kLlama ? 2048 : 32768, 1, int64_t{1} << 30);
  config.norm_eps = in.number("rms_norm_eps", 1e-6, 0, 1);
  config.tied_embeddings = in.boolean("tie_word_embeddings", false);
  const bool derived = !in.has("head_dim") && config.family != ModelFamily::kQwen3;
  config.head_dim = derived ? config.hidden / config.q_heads : in.integer("head_dim", 128, 1, 4096);
  if (in.error()) return;
  const char* origin = derived ? "hidden_size" : "head_dim";
  if (derived && config.hidden % config.q_heads != 0) {
    in.fail(origin, fmt::format("{} is not a multiple of num_attention_heads {}", config.hidden, config.q_heads),
            "set head_dim");
  } else if (config.head_dim % 2 != 0 || config.head_dim > 4096) {
    in.fail(origin, fmt::format("head_dim {} must be even and at most 4096", config.head_dim));
  }
  if (config.q_heads % config.kv_heads != 0) {
    in.fail("num_key_value_heads",
            fmt::format("{} does not divide num_attention_heads {}", config.kv_heads, config.q_heads));
  }
}

void read_biases(FieldReader& in, ModelConfig& config) {
  if (config.family == ModelFamily::kQwen2) {
    config.qkv_bias = true;  // fixed in the family; attention_bias is not one of its fields
    return;
  }
  config.qkv_bias = config.output_bias = in.boolean("attention_bias", false);
  config.qk_norm = config.family == ModelFamily::kQwen3;
  if (config.family == ModelFamily::kLlama) config.mlp_bias = in.boolean("mlp_bias", false);
}

constexpr const char* kRopeFields[] = {"type",
                                       "rope_type",
                                       "rope_theta",
                                       "factor",
                                       "beta_fast",
                                       "beta_slow",
                                       "attention_factor",
                                       "mscale",
                                       "truncate",
                                       "finetuned",
                                       "mscale_all_dim",
                                       "original_max_position_embeddings",
                                       "partial_rotary_factor",
                                       "low_freq_factor",
                                       "high_freq_factor"};
constexpr const char* kRopeKinds[] = {"default", "linear", "dynamic", "llama3", "yarn"};
constexpr int64_t kMaxPositions = int64_t{1} << 30;

void read_rope_kind(const Json& object, FieldReader& in, RopeConfig& rope) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(std::begin(kRopeFields), std::end(kRopeFields), key) != std::end(kRopeFields)) continue;
    const char* hint =
        value.is_object() ? "rotary settings per layer type are not supported" : "is not a known setting";
    in.fail(key, hint);
  }
  rope.kind = in.text("rope_type", in.text("type", "default"));
  if (rope.kind == "none") rope.kind = "default";
  if (std::find(std::begin(kRopeKinds), std::end(kRopeKinds), rope.kind) == std::end(kRopeKinds)) {
    in.fail(in.has("rope_type") ? "rope_type" : "type", fmt::format("\"{}\" is not supported", rope.kind),
            "supported: default, linear, dynamic, llama3, yarn");
  }
  if (in.number("partial_rotary_factor", 1, -1e9, 1e9) != 1) in.fail("partial_rotary_factor", "only 1 is supported");
}

// `in` reads the rope_scaling or rope_parameters object, `top` the whole config.
void read_rope_values(FieldReader& in, FieldReader& top, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  // log(theta) divides in yarn; theta 1 would not turn at all.
  rope.theta = in.number("rope_theta", rope.theta, 1.0001, 1e15);
  if (rope.kind == "default") return;
  const bool needs_factor = rope.kind != "yarn";
  if (needs_factor && !in.has("factor")) in.fail("factor", "is missing");
  rope.factor = in.number("factor", 0, 1, 1e6);
  rope.original_max_positions = in.integer("original_max_position_embeddings", 0, 1, kMaxPositions);
  if (rope.kind == "llama3" || rope.kind == "yarn")
    rope.original_max_positions =
        top.integer("original_max_position_embeddings", rope.original_max_positions, 1, kMaxPositions);
  if (rope.kind == "llama3") {
    for (const char* name : {"low_freq_factor", "high_freq_factor"}) {
      if (!in.has(name)) in.fail(name, "is missing");
    }
    rope.low_freq_factor = in.number("low_freq_factor", 1, 1e-6, 1e6);
    rope.high_freq_factor = in.number("high_freq_factor", 4, 1e-6, 1e6);
    if (rope.high_freq_factor <= rope.low_freq_factor) in.fail("high_freq_factor", "must be above low_freq_factor");
  }
  if (rope.kind == "yarn") {
    const auto original =
        static_cast<double>(rope.original_max_positions > 0 ? rope.original_max_positions : config.max_positions);
    if (!in.has("factor")) rope.factor = static_cast<double>(config.max_positions) / original;
    rope.beta_fast = in.number("beta_fast", 32, 1e-6, 1e6);
    rope.beta_slow = in.number("beta_slow", 1, 1e-6, 1e6);
    rope.attention_factor = in.number("attention_factor", 0, 0, 1e6);
    rope.mscale = in.number("mscale", 0, 0, 1e6);
    rope.mscale_all_dim = in.number("mscale_all_dim", 0, 0, 1e6);
    rope.truncate = in.boolean("truncate", true);
    if (rope.original_max_positions > 0)
      config.max_positions = std::max(config.max_positions, static_cast<int64_t>(std::llround(rope.factor * original)));
  }
  if (rope.kind == "dynamic" && rope.original_max_positions > 0)
    config.max_positions = std::min(config.max_positions, rope.original_max_positions);
}

// transformers 4: rope_theta beside rope_scaling {type or rope_type, ...} or null; 5: rope_parameters {rope_type,
// rope_theta, ...}. As in transformers, a rope_scaling that says something wins.
void read_rope(const Json& json, FieldReader& top, ModelConfig& config) {
  config.rope.theta = top.number("rope_theta", 10000, 1.0001, 1e15);
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const Json* object = top.find(name);
    if (object == nullptr) continue;
    if (!object->is_object()) return top.fail(name, fmt::format("must be an object, not {}", dump_json(*object)));
    if (object->empty()) continue;
    FieldReader in(json[name], top.where(), std::string(name) + ".");
    read_rope_kind(*object, in, config.rope);
    if (!in.error()) read_rope_values(in, top, config);
    top.adopt(in.error());
    return;
  }
}

void read_dtype(FieldReader& in, ModelConfig& config) {
  const char* field = in.has("dtype") ? "dtype" : "torch_dtype";
  config.dtype = in.text(field, "");
  if (config.dtype.rfind("torch.", 0) == 0) config.dtype.erase(0, 6);
  if (config.dtype.empty() || config.dtype == "auto") {
    config.dtype.clear();
  } else if (config.dtype != "float32" && config.dtype != "float16" && config.dtype != "bfloat16") {
    in.fail(field, fmt::format("\"{}\" is not supported", config.dtype), "supported: float32, float16, bfloat16");
  }
}

// One id, a list of ids, or nothing.
std::vector<int32_t> read_ids(FieldReader& in, const char* name) {
  std::vector<int32_t> ids;
  const Json* value = in.find(name);
  if (value == nullptr) return ids;
  const Json list = value->is_array() ? *value : Json::array({*value});
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() > INT32_MAX) {
      in.fail(name, fmt::format("{} is not a token id", dump_json(id)));
      return {};
    }
    const auto token = id.get<int32_t>();
    if (std::find(ids.begin(), ids.end(), token) == ids.end()) ids.push_back(token);
  }
  return ids;
}

// LlamaConfig of transformers has defaults for these; null says "none".
void read_special_ids(const Json& json, FieldReader& in, ModelConfig& config) {
  const bool llama = config.family == ModelFamily::kLlama;
  config.eos_ids = read_ids(in, "eos_token_id");
  if (llama && !json.contains("eos_token_id")) config.eos_ids = {2};
  const std::vector<int32_t> bos = read_ids(in, "bos_token_id");
  config.bos_id = llama && !json.contains("bos_token_id") ? 1 : -1;
  if (!bos.empty()) config.bos_id = bos.front();
}

}  // namespace

int64_t ModelConfig::parameters() const {
  const int64_t q = q_heads * head_dim, kv = kv_heads * head_dim;
  int64_t layer = 2 * hidden + 2 * q * hidden + 2 * kv * hidden + 3 * ffn * hidden;
  if (qkv_bias) layer += q + 2 * kv;
  if (output_bias) layer += hidden;
  if (mlp_bias) layer += 2 * ffn + hidden;
  if (qk_norm) layer += 2 * head_dim;
  return layers * layer + hidden + vocab * hidden * (tied_embeddings ? 1 : 2);
}

Result<ModelConfig> parse_config(const Json& json, const std::string& where) {
  if (!json.is_object()) return Error{"is not a JSON object", where, "check that it is a model's config.json"};
  FieldReader in(json, where);
  ModelConfig config;
  read_family(in, config);
  if (!in.error()) refuse_unsupported(json, in);
  if (!in.error()) read_quantization(json, in, config);
  if (!in.error()) read_sizes(in, config);
  if (!in.error()) {
    read_biases(in, config);
    read_rope(json, in, config);
    read_dtype(in, config);
    read_special_ids(json, in, config);
  }
  if (in.error()) return *in.error();
  return config;
}

Result<ModelConfig> load_config(const std::string& model_dir) {
  return load_config_file(join_path(model_dir, "config.json"));
}

Result<ModelConfig> load_config_file(const std::string& path) {
  TL_TRY(const std::string text, read_file(path, kMaxConfigBytes));
  TL_TRY(const Json json, parse_json(text, path));
  return parse_config(json, path);
}

Json config_to_json(const ModelConfig& config) {
  const FamilyRow& row = kFamilies[static_cast<size_t>(config.family)];
  Json json = {{"architectures", {row.architecture}},
               {"model_type", row.model_type},
               {"hidden_size", config.hidden},
               {"intermediate_size", config.ffn},
               {"num_hidden_layers", config.layers},
               {"num_attention_heads", config.q_heads},
               {"num_key_value_heads", config.kv_heads},
               {"head_dim", config.head_dim},
               {"vocab_size", config.vocab},
               {"max_position_embeddings", config.max_positions},
               {"hidden_act", "silu"},
               {"rms_norm_eps", config.norm_eps},
               {"tie_word_embeddings", config.tied_embeddings},
               {"rope_theta", config.rope.theta}};
  const RopeConfig& rope = config.rope;
  if (rope.kind != "default") {
    Json scaling = {{"rope_type", rope.kind}, {"factor", rope.factor}};
    if (rope.original_max_positions > 0) scaling["original_max_position_embeddings"] = rope.original_max_positions;
    if (rope.kind == "llama3") {
      scaling["low_freq_factor"] = rope.low_freq_factor;
      scaling["high_freq_factor"] = rope.high_freq_factor;
    } else if (rope.kind == "yarn") {
      scaling["beta_fast"] = rope.beta_fast;
      scaling["beta_slow"] = rope.beta_slow;
      if (rope.attention_factor > 0) scaling["attention_factor"] = rope.attention_factor;
      if (rope.mscale > 0) scaling["mscale"] = rope.mscale;
      if (rope.mscale_all_dim > 0) scaling["mscale_all_dim"] = rope.mscale_all_dim;
      if (!rope.truncate) scaling["truncate"] = false;
    }
    json["rope_scaling"] = std::move(scaling);
  }
  if (config.family != ModelFamily::kQwen2) json["attention_bias"] = config.qkv_bias;
  if (config.family == ModelFamily::kLlama) json["mlp_bias"] = config.mlp_bias;
  if (config.family != ModelFamily::kLlama) json["use_sliding_window"] = false;
  if (!config.dtype.empty()) json["torch_dtype"] = config.dtype;
  if (!config.weights.empty())
    json["quantization_config"] = {{"quant_method", "throughline"}, {"weights", config.weights}};
  json["bos_token_id"] = config.bos_id >= 0 ? Json(config.bos_id) : Json(nullptr);
  json["eos_token_id"] = nullptr;
  if (config.eos_ids.size() == 1) json["eos_token_id"] = config.eos_ids.front();
  if (config.eos_ids.size() > 1) json["eos_token_id"] = config.eos_ids;
  return json;
}

Result<GenerationDefaults> load_generation_defaults(const std::string& model_dir, const ModelConfig& config) {
  GenerationDefaults out;
  out.eos_ids = config.eos_ids;
  const std::string path = join_path(model_dir, "generation_config.json");
  if (!file_exists(path)) return out;
  TL_TRY(const std::string text, read_file(path, kMaxConfigBytes));
  TL_TRY(const Json json, parse_json(text, path));
  if (!json.is_object()) return Error{"is not a JSON object", path, "check or remove it"};
  FieldReader in(json, path);
  for (const int32_t id : read_ids(in, "eos_token_id")) {
    if (std::find(out.eos_ids.begin(), out.eos_ids.end(), id) == out.eos_ids.end()) out.eos_ids.push_back(id);
  }
  out.has_temperature = in.has("temperature");
  out.temperature = in.number("temperature", 1, 0, 1e4);
  if (!in.boolean("do_sample", true)) {
    out.has_temperature = true;
    out.temperature = 0;
  }
  out.has_top_p = in.has("top_p");
  out.top_p = in.number("top_p", 1, 0, 1);
  out.has_top_k = in.has("top_k");
  out.top_k = in.integer("top_k", 0, 0, INT32_MAX);
  out.has_min_p = in.has("min_p");
  out.min_p = in.number("min_p", 0, 0, 1);
  out.has_repetition_penalty = in.has("repetition_penalty");
  out.repetition_penalty = in.number("repetition_penalty", 1, 1e-6, 1e6);
  if (in.error()) return *in.error();
  return out;
}

}  // namespace throughline

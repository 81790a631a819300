#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "model/model_test_folder.h"
#include "model/rope.h"

namespace throughline {
namespace {

using ::testing::ElementsAre;

ModelConfig parsed(const char* text) {
  const auto config = parse_config(parse_json(text, "text").value(), "config.json");
  if (!config.ok()) ADD_FAILURE() << config.error().line();
  return config.ok() ? *config : ModelConfig{};
}

// The configs of released checkpoints, as their repositories have them (fields that matter, spelled as there).
constexpr const char* kR1Qwen15 = R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
  "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 1536, "initializer_range": 0.02,
  "intermediate_size": 8960, "max_position_embeddings": 131072, "max_window_layers": 21, "model_type": "qwen2",
  "num_attention_heads": 12, "num_hidden_layers": 28, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
  "rope_theta": 10000, "sliding_window": 4096, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "transformers_version": "4.44.0", "use_cache": true, "use_mrope": false, "use_sliding_window": false,
  "vocab_size": 151936})";
constexpr const char* kQwq = R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
  "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 5120,
  "intermediate_size": 27648, "max_position_embeddings": 40960, "max_window_layers": 64, "model_type": "qwen2",
  "num_attention_heads": 40, "num_hidden_layers": 64, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
  "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "use_sliding_window": false, "vocab_size": 152064})";
constexpr const char* kR1Llama8 = R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
  "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": 128001, "head_dim": 128, "hidden_act": "silu",
  "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": false,
  "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
  "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0,
  "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
  "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 128256})";
constexpr const char* kLlama2 = R"({"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
  "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 4096,
  "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
  "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "tie_word_embeddings": false,
  "torch_dtype": "float16", "vocab_size": 32000})";
constexpr const char* kQwen3 = R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false,
  "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
  "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
  "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
  "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true,
  "torch_dtype": "bfloat16", "use_sliding_window": false, "vocab_size": 151936})";

TEST(Config, ReadsReleasedCheckpoints) {
  const ModelConfig r1 = parsed(kR1Qwen15);
  EXPECT_EQ(r1.family, ModelFamily::kQwen2);
  EXPECT_EQ(r1.head_dim, 128);
  EXPECT_TRUE(r1.qkv_bias);
  EXPECT_FALSE(r1.output_bias);
  EXPECT_EQ(r1.parameters(), 1777088000);  // as Hugging Face counts it
  const ModelConfig qwq = parsed(kQwq);
  EXPECT_EQ(qwq.head_dim, 128);
  EXPECT_EQ(qwq.parameters(), 32763876352);
  const ModelConfig llama = parsed(kR1Llama8);
  EXPECT_EQ(llama.rope.kind, "llama3");
  EXPECT_EQ(llama.rope.original_max_positions, 8192);
  EXPECT_EQ(llama.parameters(), 8030261248);
  const ModelConfig llama2 = parsed(kLlama2);
  EXPECT_EQ(llama2.dtype, "float16");
  EXPECT_EQ(llama2.rope.theta, 10000);
  EXPECT_EQ(llama2.parameters(), 6738415616);
  const ModelConfig qwen3 = parsed(kQwen3);
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_EQ(qwen3.parameters(), 596049920);
}

TEST(Config, Transformers5SaysTheSameAs4) {
  Json four = parse_json(kR1Llama8, "t").value();
  Json five = four;
  five["rope_parameters"] = five["rope_scaling"];
  five["rope_parameters"]["rope_theta"] = five["rope_theta"];
  five["dtype"] = five["torch_dtype"];
  five["layer_types"] = Json::array({"full_attention"});
  for (const char* old : {"rope_scaling", "rope_theta", "torch_dtype"}) five.erase(old);
  const auto a = parse_config(four, "4"), b = parse_config(five, "5");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(config_to_json(*a), config_to_json(*b));
}

TEST(Config, WhatIsWrittenReadsBackTheSame) {
  for (const auto& entry : std::filesystem::directory_iterator(golden_model(""))) {
    if (!file_exists(entry.path().string() + "/config.json")) continue;
    const auto config = load_config(entry.path());
    ASSERT_TRUE(config.ok()) << config.error().line();
    const Json written = config_to_json(*config);
    const auto again = parse_config(written, "written");
    ASSERT_TRUE(again.ok()) << again.error().line();
    EXPECT_EQ(config_to_json(*again), written) << entry.path();
    EXPECT_EQ(rope_frequencies(*again).inv_freq, rope_frequencies(*config).inv_freq) << entry.path();
    EXPECT_EQ(again->max_positions, config->max_positions) << entry.path();
  }
}

TEST(Config, PositionsThatRopeAllows) {
  Json json = parse_json(kLlama2, "t").value();
  json["rope_scaling"] = {{"type", "dynamic"}, {"factor", 4.0}};
  EXPECT_EQ(parse_config(json, "t")->max_positions, 4096);  // never past the original length
  json["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 4096}};
  EXPECT_EQ(parse_config(json, "t")->max_positions, 16384);
  json["max_position_embeddings"] = 32768;
  EXPECT_EQ(parse_config(json, "t")->max_positions, 32768);
}

TEST(Config, IdsAndDtypesInEverySpelling) {
  Json json = parse_json(kQwen3, "t").value();
  json["eos_token_id"] = {7, 8, 7};
  json["torch_dtype"] = "torch.float16";
  json["bos_token_id"] = nullptr;
  const auto config = parse_config(json, "t");
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(config->eos_ids, ElementsAre(7, 8));
  EXPECT_EQ(config->dtype, "float16");
  EXPECT_EQ(config->bos_id, -1);
  json.erase("torch_dtype");
  json.erase("eos_token_id");
  EXPECT_EQ(parse_config(json, "t")->dtype, "");
  EXPECT_TRUE(parse_config(json, "t")->eos_ids.empty());
  Json llama = parse_json(kLlama2, "t").value();
  llama.erase("eos_token_id");  // LlamaConfig's own defaults: 1 and 2
  llama.erase("bos_token_id");
  EXPECT_THAT(parse_config(llama, "t")->eos_ids, ElementsAre(2));
  EXPECT_EQ(parse_config(llama, "t")->bos_id, 1);
  llama["eos_token_id"] = nullptr;
  EXPECT_TRUE(parse_config(llama, "t")->eos_ids.empty());
}

TEST(GenerationDefaults, AreReadAndUnited) {
  const TestFolder folder;
  ModelConfig config;
  config.eos_ids = {5};
  auto none = load_generation_defaults(folder.path(), config);
  ASSERT_TRUE(none.ok());
  EXPECT_THAT(none->eos_ids, ElementsAre(5));
  EXPECT_FALSE(none->has_temperature || none->has_top_p || none->has_top_k || none->has_min_p);
  folder.write("generation_config.json",
               R"({"bos_token_id": 1, "do_sample": true, "eos_token_id": [6, 5], "temperature": 0.6, "top_p": 0.95,
                   "top_k": 20, "repetition_penalty": 1.05, "transformers_version": "4.51.0"})");
  const auto some = load_generation_defaults(folder.path(), config);
  ASSERT_TRUE(some.ok()) << some.error().line();
  EXPECT_THAT(some->eos_ids, ElementsAre(5, 6));
  EXPECT_EQ(some->temperature, 0.6);
  EXPECT_EQ(some->top_k, 20);
  EXPECT_TRUE(some->has_repetition_penalty);
  EXPECT_FALSE(some->has_min_p);
  folder.write("generation_config.json", R"({"do_sample": false, "temperature": 0.6})");
  EXPECT_EQ(load_generation_defaults(folder.path(), config)->temperature, 0);
}

TEST(Rope, YarnKeepsFastPairsAndStretchesSlowOnes) {
  Json json = parse_json(kQwen3, "t").value();
  json["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}};
  const auto config = parse_config(json, "t");
  const ops::RopeFrequencies yarn = rope_frequencies(*config);
  ModelConfig plain = *config;
  plain.rope.kind = "default";
  const ops::RopeFrequencies base = rope_frequencies(plain);
  EXPECT_FLOAT_EQ(yarn.inv_freq.front(), base.inv_freq.front());
  EXPECT_FLOAT_EQ(yarn.inv_freq.back(), base.inv_freq.back() / 4);
  EXPECT_FLOAT_EQ(yarn.attention_factor, static_cast<float>(0.1 * std::log(4.0) + 1));
  EXPECT_FLOAT_EQ(base.attention_factor, 1);
}

}  // namespace
}  // namespace throughline

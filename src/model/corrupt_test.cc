// Crafted bad model directories: each gives one clear line that names the file and the field, and nothing crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/files.h"
#include "base/json.h"
#include "model/decoder.h"
#include "model/model_test_folder.h"

namespace throughline {
namespace {

// Takes a good model directory and damages it.
using Damage = std::function<void(const TestFolder&)>;

struct Case {
  const char* name;
  const char* base;  // under tests/golden/model
  Damage damage;
  std::vector<std::string> says;  // all must be in the one line
};

Damage config(const std::function<void(Json&)>& edit) {
  return [edit](const TestFolder& folder) {
    Json json = read_json_file(folder.file("config.json")).value();
    edit(json);
    folder.write("config.json", json.dump());
  };
}
Damage set(const std::string& key, const Json& value) {
  return config([=](Json& json) { json[key] = value; });
}
Damage rope(const Json& value) { return set("rope_scaling", value); }
Damage text(const std::string& file, const std::string& bytes) {
  return [=](const TestFolder& folder) { folder.write(file, bytes); };
}

constexpr const char* kWeights = "model.safetensors";

std::string read(const TestFolder& folder, const std::string& file) { return read_file(folder.file(file)).value(); }

// Edits the header's JSON of model.safetensors and packs it with the same data.
Damage header(const std::function<void(Json&)>& edit) {
  return [edit](const TestFolder& folder) {
    const std::string bytes = read(folder, kWeights);
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(bytes[i]);
    Json json = parse_json(bytes.substr(8, length), "header").value();
    edit(json);
    const std::string changed = json.dump();
    std::string out(8, '\0');
    for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(changed.size() >> (8 * i));
    folder.write(kWeights, out + changed + bytes.substr(8 + length));
  };
}
Damage bytes(const std::function<void(std::string&)>& edit) {
  return [edit](const TestFolder& folder) {
    std::string all = read(folder, kWeights);
    edit(all);
    folder.write(kWeights, all);
  };
}
Damage index(const std::function<void(Json&)>& edit) {
  return [edit](const TestFolder& folder) {
    const std::string file = "model.safetensors.index.json";
    Json json = read_json_file(folder.file(file)).value();
    edit(json);
    folder.write(file, json.dump());
  };
}
Json& shape_of(Json& json, const char* tensor) { return json[tensor]["shape"]; }
constexpr const char* kNorm = "model.norm.weight";
constexpr const char* kEmbed = "model.embed_tokens.weight";

// One case a line is easier to read than what clang-format makes of it.
// clang-format off
std::vector<Case> safetensors_cases() {
  const char* base = "llama-odd-sizes";
  return {
      {"EmptyFile", base, bytes([](std::string& b) { b.clear(); }), {kWeights, "has only 0 bytes"}},
      {"ThreeBytes", base, bytes([](std::string& b) { b.resize(3); }), {kWeights, "has only 3 bytes"}},
      {"CutInHeader", base, bytes([](std::string& b) { b.resize(100); }), {kWeights, "header", "truncated"}},
      {"CutInData", base, bytes([](std::string& b) { b.resize(b.size() - 7); }), {kWeights, "tensor \"", "data_offsets", "truncated"}},
      {"TrailingBytes", base, bytes([](std::string& b) { b += "xyz"; }), {kWeights, "3 bytes follow the last tensor"}},
      {"AbsurdHeaderLength", base, bytes([](std::string& b) { b[7] = '\x7f'; }), {kWeights, "header length", "absurd"}},
      {"HeaderNotJson", base, bytes([](std::string& b) { b[20] = '\x01'; }), {kWeights, "header is not valid JSON"}},
      {"HeaderIsAList", base, text(kWeights, std::string("\x02\0\0\0\0\0\0\0[]", 10)), {kWeights, "does not start with '{'"}},
      {"HtmlPage", base, text(kWeights, "<!DOCTYPE html><html><body>Not found</body></html>"), {kWeights, "absurd"}},
      {"GitLfsPointer", base, text(kWeights, "version https://git-lfs.github.com/spec/v1\n"), {kWeights, "absurd"}},
      {"UnknownDtype", base, header([](Json& j) { j[kNorm]["dtype"] = "F12"; }), {kWeights, kNorm, "dtype \"F12\" is unknown"}},
      {"IntegerWeights", base, header([](Json& j) { j[kNorm]["dtype"] = "I32"; }), {kWeights, kNorm, "dtype I32"}},
      {"NoDtype", base, header([](Json& j) { j[kNorm].erase("dtype"); }), {kWeights, kNorm, "dtype is missing"}},
      {"NoShape", base, header([](Json& j) { j[kNorm].erase("shape"); }), {kWeights, kNorm, "shape is missing"}},
      {"NegativeShape", base, header([](Json& j) { shape_of(j, kNorm)[0] = -30; }), {kWeights, kNorm, "shape holds a negative number"}},
      {"FractionalShape", base, header([](Json& j) { shape_of(j, kNorm)[0] = 1.5; }), {kWeights, kNorm, "shape holds a fraction"}},
      {"ShapeOverflows", base, header([](Json& j) { shape_of(j, kNorm) = {int64_t{1} << 62, int64_t{1} << 62}; }), {kWeights, kNorm, "does not fit in 64 bits"}},
      {"WrongByteCount", base, header([](Json& j) { shape_of(j, kNorm)[0] = 31; }), {kWeights, kNorm, "data_offsets span 120 bytes", "need 124"}},
      {"OffsetsBackwards", base, header([](Json& j) { std::swap(j[kNorm]["data_offsets"][0], j[kNorm]["data_offsets"][1]); }), {kWeights, kNorm, "backwards"}},
      {"OneOffset", base, header([](Json& j) { j[kNorm]["data_offsets"].erase(1); }), {kWeights, kNorm, "must be two numbers"}},
      {"Overlap", base, header([](Json& j) { j["copy"] = j[kNorm]; }), {kWeights, "overlaps tensor"}},
      {"Gap", base, header([](Json& j) { j.erase(kEmbed); }), {kWeights, "gap of 12120 bytes"}},
      {"UnknownKey", base, header([](Json& j) { j[kNorm]["color"] = 1; }), {kWeights, kNorm, "unknown key \"color\""}},
      {"TensorIsAList", base, header([](Json& j) { j[kNorm] = Json::array(); }), {kWeights, kNorm, "is an array"}},
      {"MetadataNotText", base, header([](Json& j) { j["__metadata__"]["format"] = 7; }), {kWeights, "__metadata__", "\"format\" is a number"}},
      {"DuplicateTensor", base, bytes([](std::string& b) { b.replace(b.find("model.layers.1.mlp.up_proj"), 26, "model.layers.0.mlp.up_proj"); }), {kWeights, "model.layers.0.mlp.up_proj.weight", "appears twice"}},
      {"MissingTensor", base, header([](Json& j) { j["other"] = j[kNorm]; j.erase(kNorm); }), {kWeights, kNorm, "is missing"}},
      {"WrongShape", base, header([](Json& j) { shape_of(j, kEmbed) = {30, 101}; }), {kWeights, kEmbed, "has shape [30, 101], config.json needs [101, 30]"}},
      {"ExtraTensor", "qwen3", set("num_hidden_layers", 1), {kWeights, "model.layers.1.", "is not part of this model"}},
      {"NoWeights", base, [](const TestFolder& f) { std::filesystem::remove(f.file(kWeights)); }, {"has neither model.safetensors nor"}},
  };
}

std::vector<Case> index_cases() {
  const char* base = "qwen25-fp16-sharded";
  const std::string file = "model.safetensors.index.json", shard = "model-00002-of-00003.safetensors";
  return {
      {"IndexNotJson", base, text(file, "{\"weight_map\": {"), {file, "invalid JSON"}},
      {"IndexIsAList", base, text(file, "[1]"), {file, "is an array, not an object"}},
      {"IndexWithoutMap", base, index([](Json& j) { j.erase("weight_map"); }), {file, "weight_map is missing"}},
      {"IndexMapIsText", base, index([](Json& j) { j["weight_map"] = "x"; }), {file, "weight_map", "not an object"}},
      {"IndexNamesAPath", base, index([](Json& j) { j["weight_map"][kNorm] = "../../etc/passwd"; }), {file, "weight_map", kNorm, "is not a file name"}},
      {"IndexNamesANumber", base, index([](Json& j) { j["weight_map"][kNorm] = 3; }), {file, "weight_map", kNorm, "not a file name"}},
      {"IndexDuplicate", base, text(file, R"({"weight_map": {"a": "b", "a": "c"}})"), {file, "weight_map[\"a\"]", "appears twice"}},
      {"IndexTensorElsewhere", base, index([=](Json& j) { j["weight_map"][kNorm] = j["weight_map"][kNorm] == shard ? "model-00001-of-00003.safetensors" : shard; }), {file, "weight_map", kNorm, "is not in"}},
      {"ShardMissing", base, [=](const TestFolder& f) { std::filesystem::remove(f.file(shard)); }, {shard, "No such file"}},
      {"ShardTwice", base, [=](const TestFolder& f) { std::filesystem::copy_file(f.file("model-00001-of-00003.safetensors"), f.file(shard), std::filesystem::copy_options::overwrite_existing); }, {shard, "another shard has this tensor"}},
  };
}

std::vector<Case> config_cases() {
  const char* base = "llama-odd-sizes";
  const std::string file = "config.json";
  const Json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}};
  return {
      {"ConfigMissing", base, [](const TestFolder& f) { std::filesystem::remove(f.file("config.json")); }, {file, "No such file"}},
      {"ConfigNotJson", base, text(file, "{\"hidden_size\": 64,}"), {file, "invalid JSON"}},
      {"ConfigIsAList", base, text(file, "[]"), {file, "is not a JSON object"}},
      {"ConfigHuge", base, text(file, std::string(300000, ' ') + "{}"), {file, "larger than"}},
      {"ConfigDuplicateKey", base, text(file, R"({"hidden_size": 1, "hidden_size": 2})"), {file, "duplicate key \"hidden_size\""}},
      {"NoModelType", base, config([](Json& j) { j.erase("model_type"); }), {file, "model_type: is missing"}},
      {"UnknownModelType", base, set("model_type", "mamba"), {file, "model_type: \"mamba\" is not supported", "qwen2, qwen3, llama"}},
      {"WrongArchitecture", base, set("architectures", {"LlamaForSequenceClassification"}), {file, "architectures", "LlamaForSequenceClassification"}},
      {"SlidingWindow", "qwen2-gqa-tied", set("use_sliding_window", true), {file, "sliding_window layers with use_sliding_window=true are not supported yet"}},
      {"SlidingLayerType", "qwen3", set("layer_types", {"full_attention", "sliding_attention"}), {file, "layer_types", "sliding_attention"}},
      {"Quantized", base, set("quantization_config", {{"bits", 4}}), {file, "quantization_config", "not supported"}},
      {"HiddenAct", base, set("hidden_act", "gelu"), {file, "hidden_act: \"gelu\" is not supported"}},
      {"PartialRotary", base, set("partial_rotary_factor", 0.5), {file, "partial_rotary_factor"}},
      {"ChunkedAttention", base, set("dual_chunk_attention_config", {{"chunk_size", 4}}), {file, "dual_chunk_attention_config"}},
      {"HiddenMissing", base, config([](Json& j) { j.erase("hidden_size"); }), {file, "hidden_size: is missing"}},
      {"HiddenNegative", base, set("hidden_size", -30), {file, "hidden_size: -30 is out of range"}},
      {"HiddenText", base, set("hidden_size", "30"), {file, "hidden_size: must be a whole number, not \"30\""}},
      {"LayersFraction", base, set("num_hidden_layers", 2.5), {file, "num_hidden_layers: must be a whole number, not 2.5"}},
      {"LayersHuge", base, set("num_hidden_layers", 1e30), {file, "num_hidden_layers", "out of range"}},
      {"HeadsZero", base, set("num_attention_heads", 0), {file, "num_attention_heads: 0 is out of range"}},
      {"HeadsDoNotDivide", base, set("num_key_value_heads", 2), {file, "num_key_value_heads: 2 does not divide"}},
      {"OddHeadDim", "qwen3", set("head_dim", 31), {file, "head_dim: head_dim 31 must be even"}},
      {"HiddenNotDivisible", base, set("hidden_size", 31), {file, "hidden_size: 31 is not a multiple"}},
      {"ThetaText", base, set("rope_theta", "NaN"), {file, "rope_theta: must be a number, not \"NaN\""}},
      {"ThetaNaNLiteral", base, text(file, R"({"model_type": "llama", "rope_theta": NaN})"), {file, "invalid JSON"}},
      {"ThetaOverflows", base, text(file, R"({"model_type": "llama", "rope_theta": 1e999})"), {file, "invalid JSON"}},
      {"ThetaNegative", base, set("rope_theta", -1), {file, "rope_theta: -1 is out of range"}},
      {"EpsNegative", base, set("rms_norm_eps", -1e-6), {file, "rms_norm_eps", "out of range"}},
      {"TieText", base, set("tie_word_embeddings", "yes"), {file, "tie_word_embeddings: must be true or false"}},
      {"DtypeUnknown", base, set("torch_dtype", "int8"), {file, "torch_dtype: \"int8\" is not supported"}},
      {"EosText", base, set("eos_token_id", "</s>"), {file, "eos_token_id", "is not a token id"}},
      {"RopeText", base, rope("linear"), {file, "rope_scaling: must be an object"}},
      {"RopeUnknownKind", base, rope({{"type", "su"}}), {file, "rope_scaling.type: \"su\" is not supported", "llama3, yarn"}},
      {"RopeUnknownKey", base, rope({{"rope_type", "linear"}, {"factor", 2}, {"mrope_section", {1, 2}}}), {file, "rope_scaling.mrope_section"}},
      {"RopeNoFactor", base, rope({{"rope_type", "linear"}}), {file, "rope_scaling.factor: is missing"}},
      {"RopeFactorNegative", base, rope({{"rope_type", "yarn"}, {"factor", -4}}), {file, "rope_scaling.factor: -4 is out of range"}},
      {"RopeOriginalZero", base, rope({{"rope_type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 0}}), {file, "rope_scaling.original_max_position_embeddings: 0 is out of range"}},
      {"Llama3Incomplete", base, rope({{"rope_type", "llama3"}, {"factor", 8}}), {file, "rope_scaling.low_freq_factor: is missing"}},
      {"RopePerLayerType", "qwen3-yarn-tf5", set("rope_parameters", {{"full_attention", yarn}}), {file, "rope_parameters.full_attention", "per layer type"}},
      {"GenerationNotJson", base, text("generation_config.json", "{"), {"generation_config.json", "invalid JSON"}},
      {"GenerationTemperature", base, text("generation_config.json", R"({"temperature": -1})"), {"generation_config.json", "temperature: -1 is out of range"}},
      {"GenerationTopP", base, text("generation_config.json", R"({"top_p": 1.5})"), {"generation_config.json", "top_p: 1.5 is out of range"}},
      {"GenerationTopK", base, text("generation_config.json", R"({"top_k": "many"})"), {"generation_config.json", "top_k: must be a whole number"}},
      {"GenerationEos", base, text("generation_config.json", R"({"eos_token_id": [1, -2]})"), {"generation_config.json", "eos_token_id: -2 is not a token id"}},
      {"GenerationDoSample", base, text("generation_config.json", R"({"do_sample": 1})"), {"generation_config.json", "do_sample: must be true or false"}},
  };
}

// clang-format on
std::vector<Case> all_cases() {
  std::vector<Case> cases = safetensors_cases();
  for (auto& c : index_cases()) cases.push_back(c);
  for (auto& c : config_cases()) cases.push_back(c);
  return cases;
}

class Corrupt : public ::testing::TestWithParam<Case> {};

TEST_P(Corrupt, GivesOneLineThatNamesFileAndField) {
  const Case& c = GetParam();
  const TestFolder folder;
  folder.copy_from(golden_model(c.base));
  ASSERT_TRUE(Decoder::load(folder.path(), {}).ok()) << "the undamaged model must load";
  c.damage(folder);
  const auto decoder = Decoder::load(folder.path(), {});
  std::string line;
  if (!decoder.ok()) {
    line = decoder.error().line();
  } else {
    const auto defaults = load_generation_defaults(folder.path(), decoder.value()->config());
    ASSERT_FALSE(defaults.ok()) << "nothing was refused";
    line = defaults.error().line();
  }
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_THAT(line, ::testing::HasSubstr(folder.path()));
  for (const std::string& part : c.says) EXPECT_THAT(line, ::testing::HasSubstr(part));
}

INSTANTIATE_TEST_SUITE_P(Table, Corrupt, ::testing::ValuesIn(all_cases()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace throughline

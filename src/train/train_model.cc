#include "train/train_model.h"

#include <filesystem>

#include "base/files.h"
#include "base/json.h"
#include "gym/task.h"
#include "model/synth.h"

namespace throughline {
namespace {

constexpr const char* kSpecialTokens[] = {"<pad>", "<eos>", "<think>", "</think>"};
constexpr int32_t kEosId = 1;

// One user message, and thinking is open: the puzzle, a line break, <think>.
constexpr const char* kCharacterTemplate =
    "{% for message in messages %}{{ message.content }}\n{% endfor %}{% if add_generation_prompt %}<think>{% endif %}";

Json special_token(int32_t id, const std::string& text) {
  return {{"id", id},        {"content", text},     {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", id < 2}};
}

}  // namespace

Result<TrainModel> TrainModel::load(const std::string& folder, const std::string& dtype) {
  TL_TRY(ModelParts parts, ModelParts::load(folder, {.dtype = dtype}));
  if (parts.decoder->weight_format() != ops::WeightFormat::kPlain)
    return Error{"quantized weights cannot be trained", folder, "take the checkpoint that they were made from"};
  if (!parts.tokenizer) return Error{"the model directory has no tokenizer", folder, "training needs tokenizer.json"};
  if (parts.defaults.eos_ids.empty()) {
    return Error{"the model has no EOS id: a trace could not end", folder,
                 "set eos_token_id in config.json or generation_config.json"};
  }
  TrainModel out;
  static_cast<ModelParts&>(out) = std::move(parts);
  out.folder = folder;
  out.eos_ids = out.defaults.eos_ids;
  return out;
}

Result<PromptIds> TrainModel::prompt(std::string_view text) const {
  PromptIds out;
  if (!chat_template) {
    out.ids = tokenizer->encode(text);
    if (tags) out.opens_thinking = tags->opened_by(out.ids);
    return out;
  }
  const Json messages = Json::array({{{"role", "user"}, {"content", std::string(text)}}});
  TL_TRY(ModelPrompt rendered, render(messages, {}, folder));
  out.ids = std::move(rendered.ids);
  out.opens_thinking = rendered.opens_thinking.value_or(false);
  return out;
}

std::vector<int32_t> TrainModel::response(std::string_view reasoning, std::string_view answer,
                                          bool opens_thinking) const {
  std::vector<int32_t> ids;
  const auto add = [&](std::string_view text) {
    const auto more = tokenizer->encode(text, {.add_special_tokens = false, .parse_special = false});
    ids.insert(ids.end(), more.begin(), more.end());
  };
  if (tags && (opens_thinking || !reasoning.empty())) {
    if (!opens_thinking) ids.push_back(tags->open_id);
    add(reasoning);
    ids.push_back(tags->close_id);
    add(answer);
  } else {
    std::string whole(reasoning);
    if (!reasoning.empty()) whole += '\n';
    add(whole.append(answer));
  }
  ids.push_back(eos_ids.front());
  return ids;
}

std::string character_tokenizer_json() {
  Json vocabulary = Json::object(), added = Json::array();
  int32_t id = 0;
  for (const char* text : kSpecialTokens) {
    vocabulary[text] = id;
    added.push_back(special_token(id++, text));
  }
  for (const char c : kCompactAlphabet) vocabulary[std::string(1, c)] = id++;
  return Json{{"version", "1.0"},
              {"truncation", nullptr},
              {"padding", nullptr},
              {"added_tokens", added},
              {"normalizer", nullptr},
              {"pre_tokenizer", nullptr},
              {"post_processor", nullptr},
              {"decoder", {{"type", "Fuse"}}},
              {"model",
               {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"vocab", vocabulary},
                {"merges", Json::array()}}}}
             .dump(1) +
         "\n";
}

Status make_model_from_scratch(const std::string& folder, const std::string& config_file, uint64_t seed) {
  if (file_exists(join_path(folder, "config.json"))) return {};
  TL_TRY(ModelConfig config, load_config_file(config_file));
  if (config.vocab != kCharacterVocabulary) {
    return Error{"vocab_size is " + std::to_string(config.vocab), config_file,
                 "a model from scratch has the character tokenizer: use " + std::to_string(kCharacterVocabulary)};
  }
  config.eos_ids = {kEosId};
  config.bos_id = -1;
  namespace fs = std::filesystem;
  const std::string temporary = folder + ".tmp", shape = join_path(temporary, "shape.json");
  std::error_code code;
  fs::remove_all(temporary, code);
  TL_TRY_STATUS(make_directories(temporary));
  config.dtype = "float32";
  TL_TRY_STATUS(write_atomically(shape, config_to_json(config).dump(2) + "\n"));
  TL_TRY_STATUS(synthesize({.shape = shape, .dtype = "fp32", .seed = seed, .output = temporary}, {}));
  fs::remove(shape, code);
  TL_TRY_STATUS(write_atomically(join_path(temporary, "tokenizer.json"), character_tokenizer_json()));
  const Json settings = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                         {"eos_token", kSpecialTokens[1]},
                         {"pad_token", kSpecialTokens[0]},
                         {"clean_up_tokenization_spaces", false},
                         {"model_max_length", config.max_positions},
                         {"chat_template", kCharacterTemplate}};
  TL_TRY_STATUS(write_atomically(join_path(temporary, "tokenizer_config.json"), settings.dump(1) + "\n"));
  const Json generation = {{"eos_token_id", kEosId}, {"pad_token_id", 0}, {"do_sample", true}, {"temperature", 1.0}};
  TL_TRY_STATUS(write_atomically(join_path(temporary, "generation_config.json"), generation.dump(1) + "\n"));
  fs::remove_all(folder, code);
  fs::rename(temporary, folder, code);
  if (code) return Error{"cannot rename into place: " + code.message(), folder, ""};
  return {};
}

}  // namespace throughline

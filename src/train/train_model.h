// What a run trains: a decoder with its tokenizer, and the texts of items as ids.
//
// A prompt is one user message in the model's chat template, or plain text where it has none. The response an SFT item
// teaches is the reasoning within the model's thinking tags (if it has them), then the answer, then EOS.
// From scratch: random weights for a config.json, with one token a character of gym::kCompactAlphabet.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/loaded_model.h"

namespace throughline {

struct PromptIds {
  std::vector<int32_t> ids;
  bool opens_thinking = false;
};

struct TrainModel : ModelParts {
  std::string folder;  // what it was loaded from
  std::vector<int32_t> eos_ids;

  // `dtype`: fp32, bf16 or empty. Errors: no tokenizer, no EOS id.
  static Result<TrainModel> load(const std::string& folder, const std::string& dtype);
  Result<PromptIds> prompt(std::string_view text) const;
  // `reasoning` may be empty: then the answer alone, after empty thinking if the prompt opened it.
  std::vector<int32_t> response(std::string_view reasoning, std::string_view answer, bool opens_thinking) const;
};

// Writes a model directory with random weights (model/synth.h) for the shape in `config_file`, and the character
// tokenizer. vocab_size must be kCharacterVocabulary. Complete or not there; nothing is done if it is there.
constexpr int64_t kCharacterVocabulary = 64;
Status make_model_from_scratch(const std::string& folder, const std::string& config_file, uint64_t seed);

// tokenizer.json: ids 0 <pad>, 1 <eos>, 2 <think>, 3 </think>, then the alphabet. As transformers reads it.
std::string character_tokenizer_json();

}  // namespace throughline

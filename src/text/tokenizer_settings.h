// What tokenizer_config.json, special_tokens_map.json and added_tokens.json say beside tokenizer.json or vocab.json.
//
// Chat templates, padding, truncation and clean_up_tokenization_spaces are not read here (the last one is never
// applied: it would make decoding lossy and cannot be streamed).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/added_tokens.h"

namespace throughline {

struct TokenizerSettings {
  std::string tokenizer_class;        // without the ending "Fast"; empty: not said
  std::optional<bool> add_bos_token;  // when either is said, both overrule the post-processor, as in transformers 5
  std::optional<bool> add_eos_token;
  bool add_prefix_space = false;  // only for vocab.json + merges.txt
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::vector<std::string> special_tokens;  // all named ones, bos and eos included
  std::vector<AddedToken> added_tokens;

  // Adds what the file says; what an earlier file said stays.
  Status read_config(const Json& config, const std::string& where);  // tokenizer_config.json, special_tokens_map.json
  Status read_added_tokens(std::string_view text, const std::string& where);  // added_tokens.json
};

// {"id": .., "content": .., "special": .., ...}; `default_id` when the id stands elsewhere.
Result<AddedToken> parse_added_token(const Json& json, std::optional<int64_t> default_id, const std::string& where);

}  // namespace throughline

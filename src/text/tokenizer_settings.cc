#include "text/tokenizer_settings.h"

#include <algorithm>
#include <charconv>

#include "text/json_fields.h"
#include "text/tokenizer_file.h"
#include "text/vocabulary.h"

namespace throughline {
namespace {

// "<s>" or {"content": "<s>", ...}.
Result<std::string> token_name(const Json& json, const std::string& where) {
  if (json.is_string()) return json.get<std::string>();
  JsonFields fields(json, where);
  std::string content = fields.required_text("content");
  TL_TRY_STATUS(fields.status());
  return content;
}

}  // namespace

Result<AddedToken> parse_added_token(const Json& json, std::optional<int64_t> default_id, const std::string& where) {
  JsonFields fields(json, where);
  AddedToken out;
  out.content = fields.required_text("content");
  if (!default_id && !fields.has("id")) fields.fail("id", "is missing");
  out.id = static_cast<int32_t>(fields.integer("id", default_id.value_or(0), 0, kMaxTokenId));
  out.special = fields.boolean("special", false);
  out.normalized = fields.boolean("normalized", !out.special);
  out.lstrip = fields.boolean("lstrip", false);
  out.rstrip = fields.boolean("rstrip", false);
  out.single_word = fields.boolean("single_word", false);
  TL_TRY_STATUS(fields.status());
  return out;
}

Status TokenizerSettings::read_config(const Json& config, const std::string& where) {
  JsonFields fields(config, where);
  if (tokenizer_class.empty()) {
    tokenizer_class = fields.text("tokenizer_class", "");
    if (tokenizer_class.ends_with("Fast")) tokenizer_class.resize(tokenizer_class.size() - 4);
  }
  if (!add_bos_token && fields.has("add_bos_token")) add_bos_token = fields.boolean("add_bos_token", false);
  if (!add_eos_token && fields.has("add_eos_token")) add_eos_token = fields.boolean("add_eos_token", false);
  add_prefix_space = fields.boolean("add_prefix_space", add_prefix_space);
  TL_TRY_STATUS(fields.status());

  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token"}) {
    if (!fields.has(key)) continue;
    TL_TRY(const std::string name, token_name(config[key], fields.at(key)));
    if (key == std::string_view("bos_token") && !bos_token) bos_token = name;
    if (key == std::string_view("eos_token") && !eos_token) eos_token = name;
    special_tokens.push_back(name);
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!fields.has(key) || !config[key].is_array()) continue;  // transformers also writes {} here
    for (const Json& token : config[key]) {
      TL_TRY(std::string name, token_name(token, fields.at(key)));
      special_tokens.push_back(std::move(name));
    }
  }
  const Json* table = fields.object("added_tokens_decoder");
  TL_TRY_STATUS(fields.status());
  if (table == nullptr) return {};
  for (const auto& [key, value] : table->items()) {
    int64_t id = -1;
    const auto [end, code] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (code != std::errc() || end != key.data() + key.size() || id < 0 || id > kMaxTokenId) {
      return Error{"\"" + key + "\" is not a token id", fields.at("added_tokens_decoder"), ""};
    }
    TL_TRY(AddedToken token, parse_added_token(value, id, fields.at("added_tokens_decoder") + "[\"" + key + "\"]"));
    added_tokens.push_back(std::move(token));
  }
  return {};
}

Status TokenizerSettings::read_added_tokens(std::string_view text, const std::string& where) {
  TL_TRY(auto entries, parse_vocabulary_json(text, where));
  for (auto& entry : entries) {
    const int64_t id = entry.second;
    if (id < 0 || id > kMaxTokenId)
      return Error{"the id " + std::to_string(id) + " is outside 0.." + std::to_string(kMaxTokenId), where, ""};
    const bool known =
        std::any_of(added_tokens.begin(), added_tokens.end(), [&](const AddedToken& t) { return t.id == id; });
    if (!known) added_tokens.push_back({std::move(entry.first), static_cast<int32_t>(id)});
  }
  return {};
}

}  // namespace throughline

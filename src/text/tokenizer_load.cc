// Puts a Tokenizer together from the files of a model directory.
#include <algorithm>
#include <unordered_map>

#include "base/files.h"
#include "text/json_fields.h"
#include "text/tokenizer.h"
#include "text/tokenizer_file.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_settings.h"

namespace throughline {
namespace {

constexpr size_t kConfigLimit = size_t{16} << 20;  // bytes

// Qwen2's (transformers, tokenization_qwen2.py): Llama 3's, but every digit by itself.
constexpr char kQwen2Pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

const Json& member(const Json& object, const char* name) {
  static const Json null;
  const auto it = object.find(name);
  return it == object.end() ? null : *it;
}

// The added tokens of tokenizer.json and of the other files, which must agree with each other and the vocabulary.
class AddedTokenList {
 public:
  explicit AddedTokenList(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  // A token with its own id.
  Status add(AddedToken token, const std::string& where) {
    if (token.content.empty()) return {};
    const auto known = id_of(token.content);
    if (known && *known != token.id) {
      return Error{
          "\"" + token.content + "\" has the ids " + std::to_string(*known) + " and " + std::to_string(token.id), where,
          ""};
    }
    if (const auto it = by_id_.find(token.id); it != by_id_.end()) {
      if (tokens_[it->second].content != token.content) return taken(token, tokens_[it->second].content, where);
      tokens_[it->second] = std::move(token);
      return {};
    }
    const std::string* piece = vocabulary_.piece(token.id);
    if (piece != nullptr && *piece != token.content) return taken(token, *piece, where);
    append(std::move(token));
    return {};
  }

  // From tokenizer_config.json: a token that is known keeps its id, as in transformers.
  Status add_setting(AddedToken token, const std::string& where) {
    if (const auto known = id_of(token.content)) token.id = *known;
    return add(std::move(token), where);
  }

  // A name in the role of bos, eos, ...; one that has no id cannot occur.
  void mark_special(const std::string& content) {
    const auto id = id_of(content);
    if (!id || content.empty()) return;
    if (const auto it = by_id_.find(*id); it != by_id_.end()) {
      tokens_[it->second].special = true;
    } else {
      append({content, *id, true});
    }
  }

  std::optional<int32_t> id_of(const std::string& content) const {
    if (const auto it = by_content_.find(content); it != by_content_.end()) return tokens_[it->second].id;
    return vocabulary_.id(content);
  }

  std::vector<AddedToken> take() { return std::move(tokens_); }

 private:
  static Error taken(const AddedToken& token, const std::string& by, const std::string& where) {
    return Error{"the id " + std::to_string(token.id) + " of \"" + token.content + "\" is that of \"" + by + "\"",
                 where, ""};
  }
  void append(AddedToken token) {
    by_id_[token.id] = tokens_.size();
    by_content_[token.content] = tokens_.size();
    tokens_.push_back(std::move(token));
  }

  const Vocabulary& vocabulary_;
  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> by_id_;
  std::unordered_map<std::string, size_t> by_content_;
};

Result<Bpe> build_model(TokenizerFile& file, const std::string& where) {
  const std::string place = where + ": model";
  const Json& json = member(file.root, "model");
  JsonFields fields(json, place);
  const std::string type = fields.text("type", "BPE");  // early files leave it out
  TL_TRY_STATUS(fields.status());
  if (type != "BPE") return unsupported_part("tokenizer model", type, "BPE", place);
  if (const Json& dropout = member(json, "dropout"); dropout.is_number() && dropout.get<double>() > 0) {
    return Error{"dropout makes encoding random and is not supported", fields.at("dropout"), "set it to null"};
  }
  BpeOptions options;
  if (fields.has("unk_token")) options.unk_token = fields.text("unk_token", "");
  options.fuse_unk = fields.boolean("fuse_unk", false);
  options.byte_fallback = fields.boolean("byte_fallback", false);
  options.ignore_merges = fields.boolean("ignore_merges", false);
  options.continuing_subword_prefix = fields.text("continuing_subword_prefix", "");
  options.end_of_word_suffix = fields.text("end_of_word_suffix", "");
  for (const auto* affix : {&options.continuing_subword_prefix, &options.end_of_word_suffix}) {
    if (affix->size() > 64) fields.fail("continuing_subword_prefix", "a prefix or suffix of more than 64 bytes");
  }
  TL_TRY_STATUS(fields.status());
  if (file.vocabulary.empty()) return Error{"is missing or empty", place + ".vocab", ""};
  TL_TRY(Vocabulary vocabulary, Vocabulary::build(std::move(file.vocabulary), place + ".vocab"));
  return Bpe::build(std::move(vocabulary), file.merges, std::move(options), place);
}

Result<AddedTokenList> collect_added_tokens(const TokenizerFile& file, const TokenizerSettings& settings,
                                            const Vocabulary& vocabulary, const std::string& where) {
  AddedTokenList out(vocabulary);
  const Json& list = member(file.root, "added_tokens");
  if (!list.is_null() && !list.is_array()) return Error{"must be a list", where + ": added_tokens", ""};
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string place = where + ": added_tokens[" + std::to_string(i) + "]";
    TL_TRY(AddedToken token, parse_added_token(list[i], std::nullopt, place));
    TL_TRY_STATUS(out.add(std::move(token), place));
  }
  for (const AddedToken& token : settings.added_tokens)
    TL_TRY_STATUS(out.add_setting(token, where + ": the added tokens beside it"));
  for (const std::string& name : settings.special_tokens) out.mark_special(name);
  return out;
}

// transformers 5: either key in tokenizer_config.json replaces the post-processor of tokenizer.json.
void overrule_post_processor(const TokenizerSettings& settings, TokenizerParts& parts) {
  if (!settings.add_bos_token && !settings.add_eos_token) return;
  parts.post_processor = {};
  if (settings.add_bos_token.value_or(false) && parts.bos_id) parts.post_processor.before = {*parts.bos_id};
  if (settings.add_eos_token.value_or(false) && parts.eos_id) parts.post_processor.after = {*parts.eos_id};
}

Result<std::unique_ptr<const Tokenizer>> assemble(TokenizerFile file, const TokenizerSettings& settings,
                                                  const std::string& where) {
  TL_TRY(Bpe bpe, build_model(file, where));
  TL_TRY(Normalizer normalizer, Normalizer::from_json(member(file.root, "normalizer"), where + ": normalizer"));
  TL_TRY(PreTokenizer pre_tokenizer,
         PreTokenizer::from_json(member(file.root, "pre_tokenizer"), where + ": pre_tokenizer"));
  TL_TRY(PieceDecoder decoder, PieceDecoder::from_json(member(file.root, "decoder"), where + ": decoder"));
  TL_TRY(PostProcessor post_processor,
         PostProcessor::from_json(member(file.root, "post_processor"), where + ": post_processor"));
  TL_TRY(AddedTokenList list, collect_added_tokens(file, settings, bpe.vocabulary(), where));
  const auto bos_id = settings.bos_token ? list.id_of(*settings.bos_token) : std::nullopt;
  const auto eos_id = settings.eos_token ? list.id_of(*settings.eos_token) : std::nullopt;
  TL_TRY(AddedTokens added, AddedTokens::build(list.take(), normalizer, where + ": added_tokens"));
  int32_t vocab_size = bpe.vocabulary().end_id();
  for (const AddedToken& token : added.tokens()) vocab_size = std::max(vocab_size, token.id + 1);
  auto parts = std::make_unique<TokenizerParts>(TokenizerParts{std::move(normalizer), std::move(pre_tokenizer),
                                                               std::move(bpe), std::move(added), std::move(decoder),
                                                               std::move(post_processor), bos_id, eos_id, vocab_size});
  overrule_post_processor(settings, *parts);
  for (const auto* ids : {&parts->post_processor.before, &parts->post_processor.after}) {
    for (const int32_t id : *ids) {
      if (id >= vocab_size)
        return Error{"the id " + std::to_string(id) + " is not in the vocabulary", where + ": post_processor", ""};
    }
  }
  return std::unique_ptr<const Tokenizer>(std::make_unique<Tokenizer>(std::move(parts)));
}

// What transformers does for a tokenizer class whose files are vocab.json and merges.txt; `root` is a tokenizer.json
// without a model.
Result<Json> rules_of_class(TokenizerSettings& settings, const std::string& where) {
  Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", settings.add_prefix_space}};
  Json root = {{"decoder", {{"type", "ByteLevel"}}}, {"model", {{"type", "BPE"}}}};
  const auto end_of_text = [](std::optional<std::string>& token) {
    if (!token) token = "<|endoftext|>";
  };
  if (settings.tokenizer_class == "Qwen2Tokenizer") {
    byte_level["use_regex"] = false;
    const Json split = {{"type", "Split"}, {"pattern", {{"Regex", kQwen2Pattern}}}, {"behavior", "Isolated"}};
    root["normalizer"] = {{"type", "NFC"}};
    root["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level})}};
    end_of_text(settings.eos_token);
  } else if (settings.tokenizer_class == "GPT2Tokenizer") {
    root["pre_tokenizer"] = byte_level;
    end_of_text(settings.bos_token);
    end_of_text(settings.eos_token);
  } else {
    return Error{settings.tokenizer_class.empty()
                     ? "vocab.json and merges.txt do not say how text is cut into words, and no tokenizer_class does"
                     : "tokenizer_class \"" + settings.tokenizer_class + "\" is not supported without a tokenizer.json",
                 where,
                 "use Qwen2Tokenizer or GPT2Tokenizer, or write a tokenizer.json with transformers' save_pretrained()"};
  }
  for (const auto* token : {&settings.bos_token, &settings.eos_token}) {
    if (*token) settings.special_tokens.push_back(**token);
  }
  return root;
}

Result<TokenizerSettings> read_settings(const std::string& model_dir) {
  TokenizerSettings out;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const std::string path = join_path(model_dir, name);
    if (!file_exists(path)) continue;
    TL_TRY(const std::string text, read_file(path, kConfigLimit));
    TL_TRY(const Json config, parse_small_json(text, path));
    TL_TRY_STATUS(out.read_config(config, path));
  }
  const std::string path = join_path(model_dir, "added_tokens.json");
  if (!file_exists(path)) return out;
  TL_TRY(const std::string text, read_file(path, kConfigLimit));
  TL_TRY_STATUS(out.read_added_tokens(text, path));
  return out;
}

// When tokenizer_config.json does not name a class.
Status guess_class(const std::string& model_dir, TokenizerSettings& settings) {
  const std::string path = join_path(model_dir, "config.json");
  if (!settings.tokenizer_class.empty() || !file_exists(path)) return {};
  TL_TRY(const std::string text, read_file(path, kConfigLimit));
  TL_TRY(const Json config, parse_small_json(text, path));
  JsonFields fields(config, path);
  const std::string type = fields.text("model_type", "");
  TL_TRY_STATUS(fields.status());
  if (type.starts_with("qwen2") || type.starts_with("qwen3")) settings.tokenizer_class = "Qwen2Tokenizer";
  if (type == "gpt2") settings.tokenizer_class = "GPT2Tokenizer";
  return {};
}

Result<std::unique_ptr<const Tokenizer>> load_vocab_and_merges(const std::string& model_dir,
                                                               TokenizerSettings settings) {
  const std::string vocab_path = join_path(model_dir, "vocab.json"), merges_path = join_path(model_dir, "merges.txt");
  TL_TRY_STATUS(guess_class(model_dir, settings));
  TokenizerFile file;
  TL_TRY(file.root, rules_of_class(settings, model_dir));
  TL_TRY(const std::string vocab, read_file(vocab_path, kTokenizerFileLimit));
  TL_TRY(file.vocabulary, parse_vocabulary_json(vocab, vocab_path));
  TL_TRY(const std::string merges, read_file(merges_path, kTokenizerFileLimit));
  TL_TRY(file.merges, parse_merges_text(merges, merges_path));
  return assemble(std::move(file), settings, model_dir);
}

}  // namespace

Result<std::unique_ptr<const Tokenizer>> Tokenizer::from_json(std::string_view text, std::string_view config_text,
                                                              const std::string& where) {
  TokenizerSettings settings;
  if (!config_text.empty()) {
    const std::string place = where + " (tokenizer_config.json)";
    TL_TRY(const Json config, parse_small_json(config_text, place));
    TL_TRY_STATUS(settings.read_config(config, place));
  }
  TL_TRY(TokenizerFile file, parse_tokenizer_json(text, where));
  return assemble(std::move(file), settings, where);
}

bool Tokenizer::present(const std::string& model_dir) {
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model"}) {
    if (file_exists(join_path(model_dir, name))) return true;
  }
  return false;
}

Result<std::unique_ptr<const Tokenizer>> Tokenizer::load(const std::string& model_dir) {
  const auto has = [&](const char* name) { return file_exists(join_path(model_dir, name)); };
  const bool vocab_and_merges = has("vocab.json") && has("merges.txt");
  if (!has("tokenizer.json") && !vocab_and_merges) {
    if (has("tokenizer.model")) {
      return Error{"tokenizer.model (SentencePiece) cannot be read", model_dir,
                   "write a tokenizer.json with transformers' save_pretrained()"};
    }
    return Error{"no tokenizer.json, and no vocab.json with merges.txt", model_dir,
                 "check the path, or give prompt_ids instead of text"};
  }
  TL_TRY(TokenizerSettings settings, read_settings(model_dir));
  if (!has("tokenizer.json")) return load_vocab_and_merges(model_dir, std::move(settings));
  const std::string path = join_path(model_dir, "tokenizer.json");
  TL_TRY(const std::string text, read_file(path, kTokenizerFileLimit));
  TL_TRY(TokenizerFile file, parse_tokenizer_json(text, path));
  return assemble(std::move(file), settings, path);
}

}  // namespace throughline

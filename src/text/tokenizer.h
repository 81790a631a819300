// A tokenizer as Hugging Face directories hold it: text to ids and back. BPE only: byte-level (GPT-2, Qwen, Llama 3)
// and SentencePiece-style (Llama 2). It is not a chat template (chat_template.h) and counts no tokens of its own.
//
// Semantics: Hugging Face tokenizers 0.23 over tokenizer.json, checked id for id (tools/make_tokenizer_goldens.py).
// tokenizer_config.json adds tokens and says, where it does, whether BOS and EOS are added. Not applied: truncation,
// padding, clean_up_tokenization_spaces. Without tokenizer.json: vocab.json + merges.txt, with the rules of
// tokenizer_config.json's tokenizer_class (or else config.json's model_type): Qwen2Tokenizer or GPT2Tokenizer. What is
// not supported is refused by name. encode() and decode() are total: invalid UTF-8 is read as U+FFFD (one for each
// maximal subpart), unknown ids are left out. Files are untrusted: limits in tokenizer_file.h, vocabulary.h, regex.h.
// Immutable after loading; thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/decoder.h"

namespace throughline {

struct TokenizerParts;

class Tokenizer {
 public:
  // tokenizer.json, else vocab.json + merges.txt; with tokenizer_config.json, special_tokens_map.json and
  // added_tokens.json where present.
  static Result<std::unique_ptr<const Tokenizer>> load(const std::string& model_dir);
  // The text of tokenizer.json, and of tokenizer_config.json (may be empty). `where` names the file in errors.
  static Result<std::unique_ptr<const Tokenizer>> from_json(std::string_view text, std::string_view config_text,
                                                            const std::string& where);
  // Any file that holds a vocabulary, readable or not (so that load() is what explains).
  static bool present(const std::string& model_dir);

  explicit Tokenizer(std::unique_ptr<const TokenizerParts> parts);
  ~Tokenizer();

  struct EncodeOptions {
    bool add_special_tokens = true;  // BOS and EOS as the post-processor has them
    bool parse_special =
        true;  // special tokens in the text become their ids; added tokens that are not special always do (as in HF)
  };
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const;
  std::vector<int32_t> encode(std::string_view text) const { return encode(text, EncodeOptions()); }

  std::string decode(std::span<const int32_t> ids, bool skip_special) const;

  std::optional<int32_t> token_id(std::string_view token) const;  // the exact piece, added tokens included
  std::string token_text(int32_t id) const;  // the piece as the vocabulary spells it ("Ġthe"); unknown id: ""
  // The bytes it adds in the middle of a text; they may be a part of a code point. Unknown id: "".
  std::string token_bytes(int32_t id) const;
  bool is_special(int32_t id) const;
  int32_t vocab_size() const;  // the largest id + 1, added tokens included
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;

  // For StreamDecoder: the piece to put into a decoding run; nullptr when the id is unknown or skipped.
  const std::string* piece_to_decode(int32_t id, bool skip_special) const;
  PieceDecoder::Run start_decoding() const;

 private:
  void encode_plain(std::string_view text, bool at_start, bool parse_special, std::vector<int32_t>& out) const;
  std::unique_ptr<const TokenizerParts> parts_;
};

}  // namespace throughline

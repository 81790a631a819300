#include "text/tokenizer.h"

#include "text/byte_level.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace throughline {

Tokenizer::Tokenizer(std::unique_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  std::vector<int32_t> out;
  const PostProcessor& around = parts_->post_processor;
  if (options.add_special_tokens) out = around.before;
  std::vector<AddedTokens::Part> parts;
  parts_->added.split(text, false, options.parse_special, parts);
  for (const auto& part : parts) {
    if (part.id >= 0) {
      out.push_back(part.id);
    } else {
      encode_plain(text.substr(part.begin, part.end - part.begin), part.begin == 0, options.parse_special, out);
    }
  }
  if (options.add_special_tokens) out.insert(out.end(), around.after.begin(), around.after.end());
  return out;
}

void Tokenizer::encode_plain(std::string_view text, bool at_start, bool parse_special,
                             std::vector<int32_t>& out) const {
  NormalizedText normalized{std::string(text), at_start};
  parts_->normalizer.apply(normalized);
  std::vector<AddedTokens::Part> parts;
  parts_->added.split(normalized.text, true, parse_special, parts);
  Bpe::Scratch scratch;
  for (const auto& part : parts) {
    if (part.id >= 0) {
      out.push_back(part.id);
      continue;
    }
    const size_t size = part.end - part.begin;
    Words words{normalized.text.substr(part.begin, size), {{0, size, normalized.at_start && part.begin == 0}}};
    parts_->pre_tokenizer.apply(words);
    for (const auto& word : words.spans) {
      parts_->bpe.encode(std::string_view(words.text).substr(word.begin, word.end - word.begin), scratch, out);
    }
  }
}

const std::string* Tokenizer::piece_to_decode(int32_t id, bool skip_special) const {
  if (const AddedToken* token = parts_->added.find(id))
    return token->special && skip_special ? nullptr : &token->spelling;
  return parts_->bpe.vocabulary().piece(id);
}

PieceDecoder::Run Tokenizer::start_decoding() const { return PieceDecoder::Run(parts_->decoder); }

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  PieceDecoder::Run run = start_decoding();
  for (const int32_t id : ids) {
    if (const std::string* piece = piece_to_decode(id, skip_special)) run.put(*piece, out);
  }
  run.finish(out);
  return out;
}

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
  if (const auto id = parts_->added.id(token)) return id;
  return parts_->bpe.vocabulary().id(token);
}

std::string Tokenizer::token_text(int32_t id) const {
  if (const AddedToken* token = parts_->added.find(id)) return token->content;
  const std::string* piece = parts_->bpe.vocabulary().piece(id);
  return piece == nullptr ? "" : *piece;
}

std::string Tokenizer::token_bytes(int32_t id) const {
  if (const AddedToken* token = parts_->added.find(id)) return token->content;
  const std::string* piece = parts_->bpe.vocabulary().piece(id);
  if (piece == nullptr) return "";
  // As decoded behind another piece: a text's beginning may lose a space.
  std::string out;
  PieceDecoder::Run run = start_decoding();
  run.put("a", out);
  run.put(*piece, out);
  run.finish(out);
  if (!out.empty() && out[0] == 'a') out.erase(0, 1);
  if (out.find("\xEF\xBF\xBD") == std::string::npos) return out;
  if (piece->size() == 6 && piece->compare(0, 3, "<0x") == 0)  // a byte on its own, <0xE2>
    return std::string(1, static_cast<char>(std::stoi(piece->substr(3, 2), nullptr, 16)));
  return characters_to_bytes(*piece).value_or(out);
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = parts_->added.find(id);
  return token != nullptr && token->special;
}

int32_t Tokenizer::vocab_size() const { return parts_->vocab_size; }
std::optional<int32_t> Tokenizer::bos_id() const { return parts_->bos_id; }
std::optional<int32_t> Tokenizer::eos_id() const { return parts_->eos_id; }

}  // namespace throughline

// Reads the JSON and text files of a tokenizer without trusting them.
//
// tokenizer.json holds a vocabulary object of 10^5 keys and as many merges; those go into flat lists while the text is
// read, and all else into a small tree. (The ordered tree of base/json.h looks keys up one by one, so it is not for
// objects this large.) Limits: kMaxVocabulary, kMaxMerges, 64 levels, 2^17 keys in one object of the tree, 2^20 values
// in it. Errors name line or entry.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "text/bpe.h"
#include "text/vocabulary.h"

namespace throughline {

constexpr size_t kTokenizerFileLimit = size_t{256} << 20;  // bytes
constexpr size_t kMaxVocabulary = size_t{1} << 22;
constexpr size_t kMaxMerges = size_t{1} << 22;

struct TokenizerFile {
  Json root;  // everything but model.vocab and model.merges
  VocabularyEntries vocabulary;
  MergeList merges;
};

Result<TokenizerFile> parse_tokenizer_json(std::string_view text, const std::string& where);
// vocab.json or added_tokens.json: {"piece": id, ...}.
Result<VocabularyEntries> parse_vocabulary_json(std::string_view text, const std::string& where);
// merges.txt: "left right" a line; a first line "#version: ..." is skipped.
Result<MergeList> parse_merges_text(std::string_view text, const std::string& where);
// tokenizer_config.json and the like: a tree within the limits above.
Result<Json> parse_small_json(std::string_view text, const std::string& where);

}  // namespace throughline

// Byte-pair encoding of one word (Sennrich et al. 2016), as the BPE model of Hugging Face tokenizers does it.
//
// The word starts as its characters' pieces; the adjacent pair with the lowest merge rank is merged (the leftmost of
// equals) until no pair can be. A queue over a linked list makes this O(n log n) in the word's bytes, for words of any
// length. A character without a piece becomes its <0xNN> pieces (byte_fallback), else the unknown piece, else nothing.
// Immutable; thread-safe with one Scratch per thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/vocabulary.h"

namespace throughline {

using MergeList = std::vector<std::pair<std::string, std::string>>;  // in order of rank

struct BpeOptions {
  std::optional<std::string> unk_token;   // piece for characters that have none
  bool fuse_unk = false;                  // one unknown piece for a run of such characters
  bool byte_fallback = false;             // spell such characters by bytes first
  bool ignore_merges = false;             // a word that is a piece is taken whole (Llama 3)
  std::string continuing_subword_prefix;  // before each character's piece but the first
  std::string end_of_word_suffix;         // after the last character's piece
};

class Bpe {
 public:
  struct Scratch {
    struct Symbol {
      int32_t id, previous, next;
      bool alive;
    };
    struct Candidate {
      int32_t rank, position, id;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> queue;
  };

  // `where` names the model in errors ("x/tokenizer.json: model").
  static Result<Bpe> build(Vocabulary vocabulary, const MergeList& merges, BpeOptions options,
                           const std::string& where);

  // Appends the ids of `word`, which must be valid UTF-8.
  void encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  struct Merge {
    uint64_t pair = 0;
    int32_t rank = -1;
    int32_t id = -1;
  };
  Bpe(Vocabulary vocabulary, BpeOptions options) : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {}
  Status add_merges(const MergeList& merges, const std::string& where);
  void find_single_pieces();
  const Merge* find_merge(int32_t left, int32_t right) const;
  void split_into_symbols(std::string_view word, std::vector<Scratch::Symbol>& out) const;
  void add_unknown_character(std::string_view character, std::vector<Scratch::Symbol>& out,
                             bool& pending_unknown) const;
  void merge_symbols(Scratch& scratch) const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  std::optional<int32_t> unk_id_;
  std::vector<Merge> table_;          // open addressing, a power of two long
  std::vector<int32_t> single_;       // of code points below kSingles, when no prefix is used; -1: none
  std::vector<int32_t> byte_pieces_;  // 256 or none
};

}  // namespace throughline

// Tokens that are recognised in the text before anything is merged: <|im_start|>, <think>, runs of spaces, ...
//
// Matching is leftmost-longest. A token with `normalized` is looked for in the normalised text, in its own normalised
// spelling; the others in the text as given. `lstrip`/`rstrip` take the white space beside the token along;
// `single_word` wants no word character next to it. Semantics: AddedVocabulary of Hugging Face tokenizers 0.23.
// Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/normalizer.h"

namespace throughline {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool normalized = false;
  bool lstrip = false;
  bool rstrip = false;
  bool single_word = false;
  std::string spelling =
      {};  // the content, normalised where `normalized`: what is looked for, and what decodes; AddedTokens sets it
};

class AddedTokens {
 public:
  struct Part {
    size_t begin = 0;
    size_t end = 0;
    int32_t id = -1;  // -1: text between tokens
  };

  // REQUIRES: no two tokens with the same content or id.
  static Result<AddedTokens> build(std::vector<AddedToken> tokens, const Normalizer& normalizer,
                                   const std::string& where);

  // Cuts `text` at the tokens of one kind. Without parse_special, special tokens are read over as ordinary text.
  void split(std::string_view text, bool normalized, bool parse_special, std::vector<Part>& out) const;

  std::optional<int32_t> id(std::string_view content) const;
  const AddedToken* find(int32_t id) const;
  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  // A trie over bytes; children of a node are sorted by byte.
  struct Node {
    std::vector<std::pair<unsigned char, int32_t>> children;
    int32_t token = -1;  // index in tokens_
  };
  using Trie = std::vector<Node>;
  struct Match {
    int32_t token = -1;
    size_t size = 0;
  };
  static void insert(Trie& trie, std::string_view content, int32_t token);
  static const int32_t* child(const Node& node, unsigned char byte);
  static Match longest_match(const Trie& trie, std::string_view text, size_t at);

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, int32_t> by_content_;  // -> index in tokens_
  std::unordered_map<int32_t, int32_t> by_id_;           // -> index in tokens_
  Trie raw_, normalized_;
};

}  // namespace throughline

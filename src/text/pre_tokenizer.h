// The pre-tokeniser of tokenizer.json: cuts normalised text into the words within which BPE merges.
//
// Sequence, ByteLevel, Split, Metaspace (both spellings: prepend_scheme, or the older add_prefix_space), Whitespace,
// WhitespaceSplit, Digits, Punctuation, CharDelimiterSplit; others are refused by name. Semantics: Hugging Face
// tokenizers 0.23. Text is valid UTF-8 before and after. Immutable; thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

struct Words {
  struct Span {
    size_t begin = 0;
    size_t end = 0;
    bool at_start = false;  // its first character is the first one of the whole input (Metaspace's "first")
  };
  std::string text;
  std::vector<Span> spans;  // ascending, none empty
};

class PreTokenizerStep;

class PreTokenizer {
 public:
  PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  // null: every text is one word.
  static Result<PreTokenizer> from_json(const Json& json, const std::string& where);
  void apply(Words& words) const;

 private:
  std::vector<std::unique_ptr<const PreTokenizerStep>> steps_;
};

}  // namespace throughline

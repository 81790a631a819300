// The normaliser of tokenizer.json: what is done to the text before it is cut into words.
//
// Sequence, NFC/NFD/NFKC/NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, ByteLevel; others are refused by name.
// Semantics: Hugging Face tokenizers 0.23. Text is valid UTF-8 before and after. Immutable; thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

struct NormalizedText {
  std::string text;
  bool at_start = true;  // its first character is, or replaces, the first one of the whole input
};

class NormalizerStep;

class Normalizer {
 public:
  Normalizer();
  Normalizer(Normalizer&&) noexcept;
  Normalizer& operator=(Normalizer&&) noexcept;
  ~Normalizer();

  // null: nothing is done.
  static Result<Normalizer> from_json(const Json& json, const std::string& where);
  static Normalizer nfc();

  void apply(NormalizedText& text) const;
  bool empty() const { return steps_.empty(); }

 private:
  std::vector<std::unique_ptr<const NormalizerStep>> steps_;
};

}  // namespace throughline

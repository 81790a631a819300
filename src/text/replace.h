// A Replace rule of tokenizer.json: {"pattern": {"String": s} or {"Regex": r}, "content": c}, in normalisers and
// decoders.
//
// A rule may grow a text; apply() stops replacing when the result passes `limit_bytes` and copies the rest as it is, so
// that a hostile file cannot exhaust memory. Immutable; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/json.h"
#include "base/result.h"
#include "text/regex.h"

namespace throughline {

// {"String": s} or {"Regex": r}.
class TextPattern {
 public:
  static Result<TextPattern> from_json(const Json& json, const std::string& where);
  // As Regex::find_all; the empty string matches between all code points, as the empty regex does.
  std::vector<TextRange> find_all(std::string_view text) const;

 private:
  explicit TextPattern(std::variant<std::string, Regex> pattern) : pattern_(std::move(pattern)) {}
  std::variant<std::string, Regex> pattern_;
};

class ReplaceRule {
 public:
  static Result<ReplaceRule> from_json(const Json& json, const std::string& where);
  std::string apply(std::string_view text, size_t limit_bytes) const;
  // True when the first code point itself is removed (a match at 0 with nothing put in its place).
  bool removes_start(std::string_view text) const;

 private:
  ReplaceRule(TextPattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  TextPattern pattern_;
  std::string content_;
};

// How long a piece of text may become on its way through the rules of an untrusted file. Small texts get little, as
// there may be many.
inline size_t growth_limit(size_t bytes) { return 64 * bytes + 256; }

}  // namespace throughline

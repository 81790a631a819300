// A regular expression in Oniguruma's syntax (what Hugging Face tokenizers use), with bounded work.
//
// find_all() never fails: when a text would cost more backtracking than its budget (patterns such as (a+)+$ against the
// wrong text), the search stops there and what follows counts as unmatched. The patterns of real tokenizers stay
// far below: see kRetriesPerByte. Immutable; thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct re_pattern_buffer;

namespace throughline {

struct TextRange {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const TextRange&) const = default;
};

class Regex {
 public:
  static Result<Regex> compile(const std::string& pattern, const std::string& where);

  // All matches from left to right, none overlapping; an empty match right after a match is left out.
  // `text` must be valid UTF-8.
  std::vector<TextRange> find_all(std::string_view text) const;

 private:
  struct Free {
    void operator()(re_pattern_buffer* regex) const;
  };
  explicit Regex(re_pattern_buffer* regex) : regex_(regex) {}
  std::unique_ptr<re_pattern_buffer, Free> regex_;
};

}  // namespace throughline

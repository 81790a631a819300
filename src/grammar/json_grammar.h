// The pieces JSON is made of, as rules of a ByteGrammar (RFC 8259), for json_schema.h to put together.
//
// Narrower than the RFC where a model could go on for ever or readers differ; all that is allowed is JSON:
//   space: one blank, or one or two line feeds and up to 16 blanks; numbers: up to 16 digits before and 16 behind the
//   point, exponents of one or two; free values: nested up to 16 deep; escapes of surrogates: none (UTF-8 says it).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/byte_grammar.h"

namespace throughline {

// Code points, both included.
struct CodePoints {
  char32_t low, high;
};

// The code points as they stand in a JSON string, escaped where they must be. Surrogates are left out.
void json_characters(GrammarBuilder& builder, int32_t from, const std::vector<CodePoints>& ranges, int32_t to);

// A decimal number's bound.
struct NumberBound {
  std::string digits;  // "-12.5"; no exponent
  bool included = true;
};

class JsonRules {
 public:
  explicit JsonRules(GrammarBuilder& builder) : builder_(builder) {}

  // Rules, made when first asked for.
  int32_t character();  // one of a string
  int32_t string();
  int32_t number();
  int32_t integer();
  int32_t any(int depth = 0);
  int32_t any_object(int depth = 0);
  int32_t any_array(int depth = 0);

  int32_t space(int32_t from);  // perhaps some; returns the state behind
  // A number between bounds: without exponent, 15 digits at most if not whole. False: a bound has more digits.
  bool number_between(int32_t rule, const std::optional<NumberBound>& low, const std::optional<NumberBound>& high,
                      bool integer);
  // A member's name that is none of `taken`; without escapes where it has to be told from them.
  int32_t name_except(const std::vector<std::string>& taken);

 private:
  int32_t blank();
  void optional_digits(int32_t from, int count, int32_t to);

  GrammarBuilder& builder_;
  int32_t blank_ = -1, character_ = -1, string_ = -1, number_ = -1, integer_ = -1, beyond_ascii_ = -1;
  std::vector<int32_t> any_, object_, array_;  // by depth
};

}  // namespace throughline

// Unicode properties and normal forms that tokenizers need, as Rust's std and the regex crate define them.
//
// Tables come from utf8proc and Oniguruma; they know newer Unicode versions than the trained tokenizers did, which only
// matters for code points assigned since. Text arguments must be valid UTF-8. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace throughline {

bool is_white_space(char32_t code);     // property White_Space
bool is_numeric(char32_t code);         // Nd, Nl, No
bool is_punctuation(char32_t code);     // ASCII punctuation (symbols as $ included) and P*
bool is_mark(char32_t code);            // Mn, Mc, Me
bool is_word_character(char32_t code);  // \w

enum class NormalForm { kC, kD, kKC, kKD };

// Linear in the text (but for sorting within one run of combining marks), whatever the text.
std::string normalize_unicode(std::string_view text, NormalForm form);

// Per code point, without context (no final sigma).
std::string to_lower(std::string_view text);

}  // namespace throughline

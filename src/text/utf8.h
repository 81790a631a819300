// UTF-8, one step at a time, for text that may be anything.
//
// Invalid bytes become U+FFFD, one for each maximal subpart, as Unicode 3.9 recommends and Python's and Rust's
// lossy decoders do. No allocation but for results; thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace throughline {

constexpr char32_t kReplacementCharacter = 0xFFFD;

struct Utf8Step {
  char32_t code = kReplacementCharacter;
  int size = 1;        // bytes to step over: a code point, or an invalid maximal subpart
  bool valid = false;  // code is what stands there
  bool cut = false;    // not valid, but the text ends before that is decided
};

// REQUIRES: at < text.size()
Utf8Step next_code_point(std::string_view text, size_t at);

// Surrogates and values above U+10FFFF are written as U+FFFD.
void append_utf8(std::string& out, char32_t code);

bool is_valid_utf8(std::string_view text);
std::string replace_invalid_utf8(std::string_view text);

// Bytes in the code point that starts with this byte (valid text only).
inline int utf8_size(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

}  // namespace throughline

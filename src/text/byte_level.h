// GPT-2's map between bytes and printable characters (Radford et al. 2019, encoder.py bytes_to_unicode).
//
// Printable Latin-1 bytes stand for themselves, the other 68 for U+0100..U+0143 in order; so any bytes can be spelt as
// text without white space or control characters. Immutable tables; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace throughline {

// The character of each byte, in UTF-8, one after the other.
std::string bytes_to_characters(std::string_view bytes);
char32_t byte_to_character(unsigned char byte);
// The bytes that the characters spell; nullopt when one of them stands for no byte.
std::optional<std::string> characters_to_bytes(std::string_view characters);

}  // namespace throughline

#include "text/byte_level.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace throughline {
namespace {

constexpr bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr int kCharacters = 0x144;  // the largest character that stands for a byte is U+0143

struct Tables {
  std::array<char16_t, 256> character{};
  std::array<int16_t, kCharacters> byte{};
  constexpr Tables() {
    for (auto& b : byte) b = -1;
    char16_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      character[b] = stands_for_itself(b) ? static_cast<char16_t>(b) : next++;
      byte[character[b]] = static_cast<int16_t>(b);
    }
  }
};
constexpr Tables kTables;
static_assert(kTables.byte[0x120] == ' ' && kTables.byte[0x143] == 0xAD);

}  // namespace

char32_t byte_to_character(unsigned char byte) { return kTables.character[byte]; }

std::string bytes_to_characters(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) append_utf8(out, kTables.character[static_cast<unsigned char>(c)]);
  return out;
}

std::optional<std::string> characters_to_bytes(std::string_view characters) {
  std::string out;
  out.reserve(characters.size());
  for (size_t at = 0; at < characters.size();) {
    const Utf8Step step = next_code_point(characters, at);
    at += step.size;
    if (!step.valid || step.code >= kCharacters || kTables.byte[step.code] < 0) return std::nullopt;
    out += static_cast<char>(kTables.byte[step.code]);
  }
  return out;
}

}  // namespace throughline

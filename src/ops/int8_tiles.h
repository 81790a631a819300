// How rows of int8 K and V lie in a head's part of a page: in tiles of tokens, such that a vector of memory is what an
// instruction multiplies (ops/cpu/int8_attention.h). No torch here.
//
// A tile is [head_dim / together, tokens, together] bytes. Keys: words of four elements, unsigned, 128 added to each.
// Values: signed; the four tokens of an element are a word.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace throughline::ops {

struct Int8Tile {
  int64_t tokens;     // page_tokens is a multiple
  int64_t together;   // elements of a token that are not parted; head_dim is a multiple
  std::byte flipped;  // bits in which a byte differs from the int8

  constexpr int64_t offset(int64_t token, int64_t element) const {
    return (element / together * tokens + token) * together + element % together;
  }
  // Writes elements [element, element + count) of a token; whole groups of `together`.
  void put(const std::byte* numbers, int64_t token, int64_t element, int64_t count, std::byte* tile) const {
    std::byte* to = tile + offset(token, element);
    if (together == 1) {
      for (int64_t i = 0; i < count; ++i, to += tokens) *to = numbers[i] ^ flipped;
      return;
    }
    for (int64_t i = 0; i < count; i += kWord, to += kWord * tokens) {
      uint32_t word;
      std::memcpy(&word, numbers + i, kWord);
      word ^= 0x01010101U * std::to_integer<uint32_t>(flipped);
      std::memcpy(to, &word, kWord);
    }
  }
  // Copies a token's row between two tiles, or places of one.
  void move(const std::byte* from_tile, int64_t from, std::byte* to_tile, int64_t to, int64_t head_dim) const {
    const std::byte* source = from_tile + offset(from, 0);
    std::byte* target = to_tile + offset(to, 0);
    if (together == 1) {
      for (int64_t i = 0; i < head_dim * tokens; i += tokens) target[i] = source[i];
    } else {
      for (int64_t i = 0; i < head_dim * tokens; i += kWord * tokens) std::memcpy(target + i, source + i, kWord);
    }
  }

  static constexpr int64_t kWord = 4;  // `together`, where it is not 1
};

constexpr Int8Tile kInt8Keys{.tokens = 16, .together = 4, .flipped = std::byte{0x80}};
constexpr Int8Tile kInt8Values{.tokens = 4, .together = 1, .flipped = std::byte{0}};
constexpr int64_t kInt8PageTokens = 16, kInt8HeadDim = 4;  // page_tokens and head_dim are multiples

}  // namespace throughline::ops

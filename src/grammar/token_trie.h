// The tokens of a vocabulary as a tree of their bytes, for walks that leave a branch at its first impossible byte.
//
// Nodes lie level by level (short tokens first), children of one node side by side by their byte. Immutable after
// building; thread-safe then.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace throughline {

struct TokenTrie {
  // tokens[id]: its bytes; empty: a token without text, which is not in the tree.
  explicit TokenTrie(std::vector<std::string> tokens);

  // Node 0 is the root. Children of node n: first_child[n] .. first_child[n + 1]; its tokens in `ids`: likewise.
  std::vector<uint8_t> byte;
  std::vector<int32_t> first_child, first_id, ids;
  std::vector<std::string> tokens;
};

}  // namespace throughline

// Which token ids may come next, so that the text follows a grammar: a ByteGrammar over one vocabulary.
//
// Sets of ids are found by walking the vocabulary's tree and kept, so that places seen before cost a look-up. A walk is
// limited in work (kMostWork): for a grammar so ambiguous that it would take longer, long tokens are left out of the
// set, shorter ones spell the same. The set is a function of the text alone, not of what was asked before.
// Thread-safe; a State belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/token_trie.h"

namespace throughline {

struct AllowedIds {
  std::vector<uint64_t> bits;  // of the vocabulary; empty when none may come
  bool has(int32_t id) const { return (bits[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0; }
};

class TokenGrammar {
 public:
  static constexpr int64_t kMostWork = 1 << 20;  // about 50 ms
  static constexpr size_t kMostMaskBytes = size_t{4} << 20;

  TokenGrammar(ByteGrammar grammar, std::shared_ptr<const TokenTrie> trie);

  // A place in a text; at first its beginning.
  struct State {
    std::shared_ptr<const Automaton> automaton;  // whose node it is
    Automaton::Node node = Automaton::kDead;
  };
  // False: the id cannot come here, and the state is as it was.
  bool accept(State& state, int32_t id);
  struct Next {
    std::shared_ptr<const AllowedIds> ids;
    bool may_end = false;
  };
  Next next(State& state);
  bool must_end(State& state);  // the text is whole and nothing can be added

 private:
  void place(State& state);
  Automaton::Node walk(Automaton::Node node, int32_t id);
  std::shared_ptr<const AllowedIds> find_allowed(Automaton::Node node);

  std::shared_ptr<const ByteGrammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  std::mutex mutex_;                      // guards all below, and the automatons that states hold
  std::shared_ptr<Automaton> automaton_;  // replaced when it is full; the old one goes with its last state
  std::unordered_map<Automaton::Node, std::shared_ptr<const AllowedIds>> masks_;
};

}  // namespace throughline

// Grammars for one vocabulary, made once for equal specs and shared by their requests. Any thread: compiling belongs to
// the thread that takes a request in, not to the one that samples.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "grammar/json_schema.h"
#include "grammar/token_grammar.h"

namespace throughline {

class GrammarCompiler {
 public:
  static constexpr size_t kKept = 16;  // grammars, those that nobody uses any more included

  // `tokens` is called when the first grammar is asked for: the bytes of each id; empty for those that are no text.
  explicit GrammarCompiler(std::function<std::vector<std::string>()> tokens) : tokens_(std::move(tokens)) {}

  // Errors: what make_grammar() refuses; a vocabulary that cannot begin such a text.
  Result<std::shared_ptr<TokenGrammar>> compile(const GrammarSpec& spec);

 private:
  std::function<std::vector<std::string>()> tokens_;
  std::mutex mutex_;  // guards the two below
  std::shared_ptr<const TokenTrie> trie_;
  std::list<std::pair<std::string, std::shared_ptr<TokenGrammar>>> kept_;  // by their specs; the last used first
};

}  // namespace throughline

#include "grammar/grammar_compiler.h"

#include <algorithm>

namespace throughline {

Result<std::shared_ptr<TokenGrammar>> GrammarCompiler::compile(const GrammarSpec& spec) {
  const std::string key = spec.key();
  std::shared_ptr<const TokenTrie> trie;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const auto& entry) { return entry.first == key; });
    if (found != kept_.end()) {
      kept_.splice(kept_.begin(), kept_, found);
      return found->second;
    }
    if (!trie_) trie_ = std::make_shared<const TokenTrie>(tokens_());
    trie = trie_;
  }
  TL_TRY(ByteGrammar grammar, make_grammar(spec));
  auto made = std::make_shared<TokenGrammar>(std::move(grammar), std::move(trie));
  TokenGrammar::State state;
  if (made->next(state).ids->bits.empty())
    return Error{"the model's vocabulary cannot write it", spec.where, "or it has too many alternatives"};
  const std::lock_guard lock(mutex_);
  kept_.emplace_front(key, made);
  if (kept_.size() > kKept) kept_.pop_back();
  return made;
}

}  // namespace throughline

#include "grammar/token_grammar.h"

namespace throughline {
namespace {

constexpr int64_t kNodeWork = 128;  // a node is a kilobyte

}  // namespace

TokenGrammar::TokenGrammar(ByteGrammar grammar, std::shared_ptr<const TokenTrie> trie)
    : grammar_(std::make_shared<const ByteGrammar>(std::move(grammar))),
      trie_(std::move(trie)),
      automaton_(std::make_shared<Automaton>(grammar_)) {}

void TokenGrammar::place(State& state) {
  if (automaton_->over_full()) {
    automaton_ = std::make_shared<Automaton>(grammar_);
    masks_.clear();
  }
  if (state.automaton == automaton_) return;
  state.node = state.automaton ? automaton_->take_over(*state.automaton, state.node) : automaton_->start();
  state.automaton = automaton_;
}

Automaton::Node TokenGrammar::walk(Automaton::Node node, int32_t id) {
  for (const char c : trie_->tokens[id]) {
    if (node != Automaton::kDead) node = automaton_->step(node, static_cast<uint8_t>(c));
  }
  return node;
}

bool TokenGrammar::accept(State& state, int32_t id) {
  const std::lock_guard lock(mutex_);
  place(state);
  if (state.node == Automaton::kDead || id < 0 || static_cast<size_t>(id) >= trie_->tokens.size()) return false;
  const Automaton::Node to = trie_->tokens[id].empty() ? Automaton::kDead : walk(state.node, id);
  if (to == Automaton::kDead) return false;
  state.node = to;
  return true;
}

bool TokenGrammar::must_end(State& state) {
  const std::lock_guard lock(mutex_);
  place(state);
  return state.node != Automaton::kDead && automaton_->must_end(state.node);
}

TokenGrammar::Next TokenGrammar::next(State& state) {
  const std::lock_guard lock(mutex_);
  place(state);
  if (state.node == Automaton::kDead) return {std::make_shared<AllowedIds>(), false};
  if (masks_.count(state.node) == 0 && masks_.size() * (trie_->tokens.size() / 8 + 64) > kMostMaskBytes) masks_.clear();
  auto& kept = masks_[state.node];
  if (!kept) kept = find_allowed(state.node);
  return {kept, automaton_->may_end(state.node)};
}

std::shared_ptr<const AllowedIds> TokenGrammar::find_allowed(Automaton::Node from) {
  auto out = std::make_shared<AllowedIds>();
  // Work is what the walk would take with nothing kept from before: a step counts once, by the ways it goes.
  automaton_->begin_walk();
  int64_t work = 0;
  std::vector<std::pair<int32_t, Automaton::Node>> todo = {{0, from}};  // in the trie, in the automaton
  for (size_t i = 0; i < todo.size() && work < kMostWork; ++i) {
    const auto [place, node] = todo[i];
    for (int32_t child = trie_->first_child[place]; child < trie_->first_child[place + 1]; ++child) {
      const uint8_t byte = trie_->byte[child];
      const Automaton::Node to = automaton_->step(node, byte);
      if (automaton_->first_in_walk(node, byte))
        work += automaton_->ways(node) + (to == Automaton::kDead ? 0 : kNodeWork + automaton_->ways(to));
      if (to == Automaton::kDead) continue;
      todo.emplace_back(child, to);
      if (trie_->first_id[child] == trie_->first_id[child + 1]) continue;
      if (out->bits.empty()) out->bits.resize((trie_->tokens.size() + 63) / 64);
      for (int32_t k = trie_->first_id[child]; k < trie_->first_id[child + 1]; ++k)
        out->bits[static_cast<size_t>(trie_->ids[k]) / 64] |= uint64_t{1} << (trie_->ids[k] % 64);
    }
  }
  return out;
}

}  // namespace throughline

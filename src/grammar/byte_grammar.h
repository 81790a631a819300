// A context-free grammar over bytes: rules, each a small nondeterministic automaton, that call each other.
//
// Made through GrammarBuilder, run by Automaton. Limited in size while it is built: a schema is a stranger's, and once
// the limit is reached building goes on without effect, so that loops over a stranger's numbers need only look at
// full(). finish() cuts what cannot be completed, so whatever a prefix allows leads to an end.
// No rule may match the empty text, nor call itself before a byte; that keeps parsing linear.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace throughline {

struct ByteGrammar {
  struct Edge {
    uint8_t low, high;  // both included
    int32_t to;
  };
  struct Call {
    int32_t rule, to;  // where to go on after it
  };
  struct State {
    std::vector<Edge> edges;
    std::vector<Call> calls;
    std::vector<int32_t> jumps;  // without a byte
    bool ends = false;           // its rule
  };
  std::vector<State> states;
  std::vector<int32_t> starts;  // of the rules
  std::vector<int32_t> order;   // of the rules: one comes before all those it may call before its first byte
  int32_t root = 0;             // rule
};

class GrammarBuilder {
 public:
  static constexpr int64_t kMostStates = 1 << 16, kMostArcs = 1 << 18;

  int32_t state();
  void edge(int32_t from, uint8_t low, uint8_t high, int32_t to);
  void jump(int32_t from, int32_t to);
  void call(int32_t from, int32_t rule, int32_t to);
  // These return the state behind.
  int32_t literal(int32_t from, std::string_view bytes);
  int32_t call(int32_t from, int32_t rule);

  int32_t declare_rule();
  void define_rule(int32_t rule, int32_t start, int32_t end);
  bool full() const { return full_; }

  // Errors: over the limit; nothing matches; a rule calls itself before a byte.
  Result<ByteGrammar> finish(int32_t root, const std::string& where);

 private:
  bool has_room();
  void cut_dead_ends();
  bool sort_rules();

  ByteGrammar grammar_;
  int64_t arcs_ = 0;
  bool full_ = false;
};

}  // namespace throughline

#include "grammar/byte_grammar.h"

#include <algorithm>

namespace throughline {

bool GrammarBuilder::has_room() {
  full_ = full_ || ++arcs_ > kMostArcs;
  return !full_;
}

int32_t GrammarBuilder::state() {
  full_ = full_ || static_cast<int64_t>(grammar_.states.size()) >= kMostStates;
  if (full_) return 0;
  grammar_.states.emplace_back();
  return static_cast<int32_t>(grammar_.states.size()) - 1;
}

void GrammarBuilder::edge(int32_t from, uint8_t low, uint8_t high, int32_t to) {
  if (has_room()) grammar_.states[from].edges.push_back({low, high, to});
}

void GrammarBuilder::jump(int32_t from, int32_t to) {
  if (has_room()) grammar_.states[from].jumps.push_back(to);
}

void GrammarBuilder::call(int32_t from, int32_t rule, int32_t to) {
  if (has_room()) grammar_.states[from].calls.push_back({rule, to});
}

int32_t GrammarBuilder::call(int32_t from, int32_t rule) {
  const int32_t to = state();
  call(from, rule, to);
  return to;
}

int32_t GrammarBuilder::literal(int32_t from, std::string_view bytes) {
  for (const char c : bytes) {
    const int32_t to = state();
    edge(from, static_cast<uint8_t>(c), static_cast<uint8_t>(c), to);
    from = to;
  }
  return from;
}

int32_t GrammarBuilder::declare_rule() {
  grammar_.starts.push_back(-1);
  return static_cast<int32_t>(grammar_.starts.size()) - 1;
}

void GrammarBuilder::define_rule(int32_t rule, int32_t start, int32_t end) {
  if (full_) return;
  grammar_.starts[rule] = start;
  grammar_.states[end].ends = true;
}

Result<ByteGrammar> GrammarBuilder::finish(int32_t root, const std::string& where) {
  if (full_) {
    return Error{"is too large: its grammar would have more than " + std::to_string(kMostStates) + " states", where,
                 "use fewer properties, alternatives or repetitions"};
  }
  grammar_.root = root;
  cut_dead_ends();
  if (grammar_.starts[root] < 0) return Error{"no text can satisfy it", where, ""};
  if (!sort_rules())
    return Error{"refers to itself with nothing in between", where, "put an array or an object between"};
  return std::move(grammar_);
}

// Leaves what can be completed, found from the rules' ends backwards; each arc is looked at twice at most.
void GrammarBuilder::cut_dead_ends() {
  auto& states = grammar_.states;
  auto& starts = grammar_.starts;
  struct Arc {
    int32_t from;
    int32_t call;  // which of its calls; -1: an edge or a jump
  };
  std::vector<std::vector<Arc>> into(states.size());
  for (int32_t s = 0; s < static_cast<int32_t>(states.size()); ++s) {
    for (const auto& edge : states[s].edges) into[edge.to].push_back({s, -1});
    for (const int32_t to : states[s].jumps) into[to].push_back({s, -1});
    for (int32_t i = 0; i < static_cast<int32_t>(states[s].calls.size()); ++i) {
      const auto& call = states[s].calls[i];
      into[call.to].push_back({s, i});
      if (starts[call.rule] >= 0) into[starts[call.rule]].push_back({s, i});
    }
  }
  std::vector<char> good(states.size(), 0);
  const auto leads_on = [&](const ByteGrammar::Call& call) {
    return good[call.to] && starts[call.rule] >= 0 && good[starts[call.rule]];
  };
  std::vector<int32_t> todo;
  for (int32_t s = 0; s < static_cast<int32_t>(states.size()); ++s) {
    if (states[s].ends) todo.push_back(s);
  }
  for (const int32_t s : todo) good[s] = 1;
  while (!todo.empty()) {
    const int32_t to = todo.back();
    todo.pop_back();
    for (const auto& [from, call] : into[to]) {
      if (good[from] || (call >= 0 && !leads_on(states[from].calls[call]))) continue;
      good[from] = 1;
      todo.push_back(from);
    }
  }
  for (auto& state : states) {
    std::erase_if(state.edges, [&](const auto& edge) { return !good[edge.to]; });
    std::erase_if(state.jumps, [&](int32_t to) { return !good[to]; });
    std::erase_if(state.calls, [&](const auto& call) { return !leads_on(call); });
  }
  for (int32_t& start : starts) {
    if (start >= 0 && !good[start]) start = -1;
  }
}

// By the calls that stand before a rule's first byte. False: they form a circle.
bool GrammarBuilder::sort_rules() {
  const auto& states = grammar_.states;
  const auto rules = static_cast<int32_t>(grammar_.starts.size());
  std::vector<std::vector<int32_t>> first(rules);  // rule -> rules called before a byte
  std::vector<int32_t> callers(rules, 0), seen(states.size(), -1), todo;
  for (int32_t rule = 0; rule < rules; ++rule) {
    if (grammar_.starts[rule] < 0) continue;
    todo.assign(1, grammar_.starts[rule]);
    seen[todo.back()] = rule;
    while (!todo.empty()) {
      const auto& state = states[todo.back()];
      todo.pop_back();
      TL_CHECK(!state.ends, "a rule matches the empty text");
      for (const auto& call : state.calls) {
        first[rule].push_back(call.rule);
        ++callers[call.rule];
      }
      for (const int32_t to : state.jumps) {
        if (seen[to] != rule) todo.push_back(to);
        seen[to] = rule;
      }
    }
  }
  grammar_.order.assign(rules, 0);
  for (int32_t rule = 0; rule < rules; ++rule) {
    if (callers[rule] == 0) todo.push_back(rule);
  }
  int32_t placed = 0;
  while (!todo.empty()) {
    const int32_t rule = todo.back();
    todo.pop_back();
    grammar_.order[rule] = placed++;
    for (const int32_t called : first[rule]) {
      if (--callers[called] == 0) todo.push_back(called);
    }
  }
  return placed == rules;
}

}  // namespace throughline

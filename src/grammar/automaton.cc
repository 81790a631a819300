#include "grammar/automaton.h"

#include <algorithm>

namespace throughline {

Automaton::Automaton(std::shared_ptr<const ByteGrammar> grammar)
    : grammar_(std::move(grammar)), rule_at_(grammar_->order.size()), frames_(1) {
  for (size_t rule = 0; rule < grammar_->order.size(); ++rule)
    rule_at_[grammar_->order[rule]] = static_cast<int32_t>(rule);
}

size_t Automaton::ItemsHash::operator()(const Items& items) const {
  uint64_t hash = items.size();
  for (const auto& [state, frame] : items) {
    hash ^= static_cast<uint64_t>(static_cast<uint32_t>(state)) << 32 | static_cast<uint32_t>(frame);
    hash *= 0x9E3779B97F4A7C15;
    hash ^= hash >> 29;
  }
  return hash;
}

// A frame's returns lie in frames made before it.
Automaton::Node Automaton::take_over(const Automaton& other, Node node) {
  if (node == kDead) return kDead;
  std::map<int32_t, int32_t> ours = {{0, 0}};  // frames of the other, then what they are here
  std::vector<int32_t> todo;
  const auto see = [&](const Items& items) {
    for (const auto& [state, frame] : items) {
      if (ours.emplace(frame, 0).second) todo.push_back(frame);
    }
  };
  see(other.nodes_[node].items);
  while (!todo.empty()) {
    const int32_t frame = todo.back();
    todo.pop_back();
    see(other.frames_[frame]);
  }
  const auto translated = [&](Items items) {
    for (auto& item : items) item.frame = ours.at(item.frame);
    return items;
  };
  for (auto& [theirs, frame] : ours) {
    if (theirs != 0) frame = frame_of(translated(other.frames_[theirs]));
  }
  Items items = translated(other.nodes_[node].items);
  std::sort(items.begin(), items.end());
  const Node out = intern(std::move(items));
  limit_ = std::max(limit_, 2 * bytes_);
  return out;
}

Automaton::Node Automaton::start() { return node_of({{grammar_->starts[grammar_->root], 0}}); }

Automaton::Node Automaton::step(Node node, uint8_t byte) {
  if (nodes_[node].next[byte] != kUnknown) return nodes_[node].next[byte];
  Items seeds;
  for (const auto& [state, frame] : nodes_[node].items) {
    for (const auto& edge : grammar_->states[state].edges) {
      if (edge.low <= byte && byte <= edge.high) seeds.push_back({edge.to, frame});
    }
  }
  const Node to = seeds.empty() ? kDead : node_of(std::move(seeds));
  nodes_[node].next[byte] = to;
  return to;
}

bool Automaton::first_in_walk(Node node, uint8_t byte) {
  NodeData& data = nodes_[node];
  if (data.walk != walk_) data.walked.reset();
  data.walk = walk_;
  const bool first = !data.walked.test(byte);
  data.walked.set(byte);
  return first;
}

// Follows jumps and returns from `todo` on; adds what reads a byte to `out`, what is called to `calls`.
// False: too many ways.
bool Automaton::close(Items& todo, Items& out, std::map<int32_t, Items>& calls) {
  while (!todo.empty()) {
    const Item item = todo.back();
    todo.pop_back();
    const uint64_t key = static_cast<uint64_t>(item.state) << 32 | static_cast<uint32_t>(item.frame);
    if (!seen_.insert(key).second) continue;
    if (seen_.size() > 2 * kMostItems) return false;
    const auto& state = grammar_->states[item.state];
    if (!state.edges.empty() || (state.ends && item.frame == 0)) out.push_back(item);
    for (const int32_t to : state.jumps) todo.push_back({to, item.frame});
    for (const auto& call : state.calls) calls[grammar_->order[call.rule]].push_back({call.to, item.frame});
    if (state.ends) todo.insert(todo.end(), frames_[item.frame].begin(), frames_[item.frame].end());
  }
  return out.size() <= kMostItems;
}

Automaton::Node Automaton::node_of(Items seeds) {
  Items items;
  std::map<int32_t, Items> calls;  // by the rules' order: when one is opened, all its callers are known
  seen_.clear();
  bool fits = close(seeds, items, calls);
  while (fits && !calls.empty()) {
    auto first = calls.extract(calls.begin());
    Items opened = {{grammar_->starts[rule_at_[first.key()]], frame_of(std::move(first.mapped()))}};
    fits = close(opened, items, calls);
  }
  if (!fits || items.empty()) return kDead;
  std::sort(items.begin(), items.end());
  return intern(std::move(items));
}

Automaton::Node Automaton::intern(Items items) {
  const auto [place, is_new] = node_ids_.emplace(std::move(items), static_cast<Node>(nodes_.size()));
  if (!is_new) return place->second;
  NodeData node;
  node.items = place->first;
  node.must_end = true;
  for (const auto& [state, frame] : node.items) {
    node.may_end = node.may_end || (frame == 0 && grammar_->states[state].ends);
    node.must_end = node.must_end && grammar_->states[state].edges.empty();
  }
  node.next.fill(kUnknown);
  bytes_ += sizeof(NodeData) + 2 * node.items.size() * sizeof(Item) + 128;
  nodes_.push_back(std::move(node));
  return place->second;
}

int32_t Automaton::frame_of(Items returns) {
  std::sort(returns.begin(), returns.end());
  returns.erase(std::unique(returns.begin(), returns.end()), returns.end());
  const auto [place, is_new] = frame_ids_.emplace(std::move(returns), static_cast<int32_t>(frames_.size()));
  if (is_new) {
    frames_.push_back(place->first);
    bytes_ += 2 * place->first.size() * sizeof(Item) + 128;
  }
  return place->second;
}

}  // namespace throughline

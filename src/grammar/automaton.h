// Runs a ByteGrammar over bytes, deterministically: a node stands for all the ways to read the text so far.
//
// A way is a state and a stack of calls; stacks share their tails, and calls of one rule at one place are one frame
// with several returns, as in generalised LR parsing, so that ambiguity costs no more than the grammar is large. Nodes,
// frames and steps are made when first asked for and kept; when they fill much memory another automaton
// takes over the nodes that are in use. One thread at a time.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "grammar/byte_grammar.h"

namespace throughline {

class Automaton {
 public:
  using Node = int32_t;
  static constexpr Node kDead = -1;
  static constexpr size_t kMostItems = 4096;  // ways at once; a text with more counts as not allowed
  static constexpr size_t kMostBytes = size_t{8} << 20;

  explicit Automaton(std::shared_ptr<const ByteGrammar> grammar);

  Node start();
  Node step(Node node, uint8_t byte);
  bool may_end(Node node) const { return nodes_[node].may_end; }
  bool must_end(Node node) const { return nodes_[node].must_end; }
  int64_t ways(Node node) const { return static_cast<int64_t>(nodes_[node].items.size()); }

  // Of a step since begin_walk(): is it the first of its kind? For accounts that must not hang on what is kept.
  void begin_walk() { ++walk_; }
  bool first_in_walk(Node node, uint8_t byte);

  bool over_full() const { return bytes_ > limit_; }
  // The same place as `node` of another automaton of this grammar.
  Node take_over(const Automaton& other, Node node);

 private:
  struct Item {
    int32_t state, frame;
    auto operator<=>(const Item&) const = default;
  };
  using Items = std::vector<Item>;
  struct ItemsHash {
    size_t operator()(const Items& items) const;
  };
  struct NodeData {
    Items items;  // sorted; only states that read a byte, and the end of the whole
    bool may_end = false, must_end = false;
    std::array<Node, 256> next;
    std::bitset<256> walked;  // in the walk of this number
    uint64_t walk = 0;
  };
  static constexpr Node kUnknown = -2;

  Node node_of(Items seeds);
  Node intern(Items items);
  bool close(Items& todo, Items& out, std::map<int32_t, Items>& calls);
  int32_t frame_of(Items returns);

  std::shared_ptr<const ByteGrammar> grammar_;
  std::vector<int32_t> rule_at_;  // by order
  std::vector<NodeData> nodes_;
  std::unordered_map<Items, Node, ItemsHash> node_ids_;
  std::vector<Items> frames_;  // what follows a call: states with the frames they are in; the first: the end of all
  std::unordered_map<Items, int32_t, ItemsHash> frame_ids_;
  size_t bytes_ = 0, limit_ = kMostBytes;
  uint64_t walk_ = 0;
  std::unordered_set<uint64_t> seen_;
};

}  // namespace throughline

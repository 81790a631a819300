// The two trees of one comparison as one, with the questions and edits that its parts share.
//
// Nodes are only ever added, so ids stay valid; references to nodes do not outlive the next add. Every walk is charged
// to the step budget. One object serves one comparison; not for several threads at once. Used by compare.cc,
// real_sets.cc and values.cc.
#pragma once

#include <string>
#include <vector>

#include "gym/answer/algebra.h"
#include "gym/answer/ast.h"

namespace throughline::answer {

constexpr size_t kMaxElements = 200;  // of a list, or pieces of a set of reals

// Equal only if both are, different if one is.
inline Tri both(Tri a, Tri b) {
  if (a == Tri::kDifferent || b == Tri::kDifferent) return Tri::kDifferent;
  return a == Tri::kUnknown || b == Tri::kUnknown ? Tri::kUnknown : Tri::kEqual;
}
inline Tri yes_no(bool yes) { return yes ? Tri::kEqual : Tri::kDifferent; }

class Workspace {
 public:
  Workspace(Tree tree, Steps* steps) : tree_(std::move(tree)), steps_(steps) {}

  const Tree& tree() const { return tree_; }
  Steps* steps() const { return steps_; }
  bool charge(int64_t cost) { return steps_->charge(cost); }

  const Node& at(NodeId id) const { return tree_[id]; }
  bool is(NodeId id, Kind kind) const { return id != kNoNode && at(id).kind == kind; }
  // A value, as opposed to a list, set, interval, relation, matrix or text.
  bool expression(NodeId id) const;
  // Without the unit.
  NodeId strip(NodeId id) const;
  // The first ± or ∓ below `id` (depth first), or kNoNode.
  NodeId find_plus_minus(NodeId id);
  bool has_variable(NodeId id);
  // Whether it is a matrix, or a sum or product with one.
  bool has_matrix(NodeId id);
  // Whether a number in it was written with a decimal point.
  bool has_decimal(NodeId id);

  NodeId add(Kind kind, std::vector<NodeId> kids);
  NodeId negated(NodeId id) { return add(Kind::kNegate, {id}); }
  NodeId difference(NodeId a, NodeId b) { return add(Kind::kSum, {a, negated(b)}); }
  // A copy of `id` in which node `target` is replaced.
  NodeId substitute(NodeId id, NodeId target, NodeId replacement);
  // A copy of `id` in which the variable `from` is replaced.
  NodeId rename(NodeId id, const std::string& from, NodeId to);
  // Elements of lists and sets, with ± written out; a single answer is a list of one. Ends soon behind kMaxElements.
  std::vector<NodeId> elements(NodeId id);

 private:
  // The first node below `id` that `wanted` accepts; goes down only where `enter` does.
  template <typename Wanted, typename Enter>
  NodeId find(NodeId id, const Wanted& wanted, const Enter& enter, int64_t* visited) const;
  // A copy of `id` in which every node for which `replace` gives another id is that one.
  template <typename Replace>
  NodeId rewrite(NodeId id, const Replace& replace);
  void elements(NodeId id, int signs, std::vector<NodeId>* out);

  Tree tree_;
  Steps* steps_;
};

}  // namespace throughline::answer

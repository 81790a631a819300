// The syntax tree of an answer, as the parser leaves it and the comparer reads it.
//
// Nodes live in one vector and name their children by index (children always have smaller indices), so a tree is
// freed at once and a walk cannot meet a cycle. Sums and products are flat: the depth of a tree is bounded by
// the parser's depth limit, whatever the length of the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gym/answer/rational.h"

namespace throughline::answer {

using NodeId = int32_t;
constexpr NodeId kNoNode = -1;

enum class Kind : uint8_t {
  kNumber,  // number; name: "." when it was written with a decimal point
  kSymbol,  // name: "x", "alpha", "x_{1}"
  kPi,
  kEuler,      // e
  kImaginary,  // i
  kInfinity,
  kSum,         // kids added
  kProduct,     // kids multiplied
  kNegate,      // kids[0]
  kInverse,     // 1 / kids[0]
  kPower,       // kids[0] ^ kids[1]
  kRoot,        // kids[1]-th root of kids[0]
  kFunction,    // name(kids...)
  kFactorial,   // kids[0]!
  kAbsolute,    // |kids[0]|
  kBinomial,    // kids[0] over kids[1]
  kPlusMinus,   // kids[0] ± kids[1]; kids[0] may be kNoNode
  kPercent,     // kids[0] %
  kUnit,        // kids[0] with unit `name`
  kBaseNumber,  // name: digits; number: the base
  kText,        // name: words
  kTuple,       // kids between brackets; name: the two brackets, "()", "[)", ...
  kList,        // kids separated by commas, "and", "or"
  kSet,         // kids between \{ \}
  kSetBuilder,  // \{ kids[0] | kids[1] \}
  kEmptySet,
  kReals,
  kUnion,         // kids
  kIntersection,  // kids
  kSetMinus,      // kids[0] \ kids[1]
  kRelation,      // kids compared by the operators in `name`, one character each: = < > l g n ~ (le, ge, ne, approx)
  kMember,        // kids[0] in kids[1]
  kMatrix,        // kids row by row; columns
  kDeterminant,   // kids[0] a matrix
  kOpaque,        // a construct that is kept but not evaluated (sum, integral, limit); name: which
};

struct Node {
  Kind kind = Kind::kNumber;
  int32_t columns = 0;
  std::vector<NodeId> kids;
  Rational number;
  std::string name;
};

struct Tree {
  std::vector<Node> nodes;
  NodeId root = kNoNode;

  const Node& operator[](NodeId id) const { return nodes[static_cast<size_t>(id)]; }
  Node& operator[](NodeId id) { return nodes[static_cast<size_t>(id)]; }
  NodeId add(Node node) {
    nodes.push_back(std::move(node));
    return static_cast<NodeId>(nodes.size() - 1);
  }
  NodeId add(Kind kind, std::vector<NodeId> kids = {}, std::string name = {}) {
    Node node;
    node.kind = kind;
    node.kids = std::move(kids);
    node.name = std::move(name);
    return add(std::move(node));
  }
  NodeId add_number(Rational value) {
    Node node;
    node.number = std::move(value);
    return add(std::move(node));
  }
};

// A compact, deterministic rendering ("(3*x+1)/2"), for logs and as the key of opaque parts. It ends soon behind
// kMaxRenderedText bytes: a longer text is cut, and says nothing about equality.
constexpr size_t kMaxRenderedText = 4000;
std::string to_text(const Tree& tree, NodeId id);

// A count of elementary operations. Everything the verifier does is charged here; when the budget is gone, the
// verdict is "undecided". Deterministic, unlike a clock.
//
// One step stands for one small allocation with its release, or about as much other work: near 50 ns in a release
// build, 300 ns under sanitizers. Whoever adds work charges it so; `grade_bench --steps` prints what a step costs.
class Steps {
 public:
  explicit Steps(int64_t budget) : budget_(budget) {}
  bool charge(int64_t cost) {
    used_ += cost;
    return used_ <= budget_;
  }
  bool exhausted() const { return used_ > budget_; }
  int64_t used() const { return used_; }
  int64_t left() const { return used_ < budget_ ? budget_ - used_ : 0; }

 private:
  int64_t budget_;
  int64_t used_ = 0;
};

}  // namespace throughline::answer

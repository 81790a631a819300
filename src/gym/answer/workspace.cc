#include "gym/answer/workspace.h"

namespace throughline::answer {
namespace {

constexpr int kMaxSigns = 3;           // ± in one element: more are compared as they stand
constexpr int64_t kVisitsPerStep = 6;  // of nodes that are only looked at
constexpr int64_t kNewNodeCost = 2;    // its children are allocated, and the tree grows
constexpr int64_t kKidsCopiedPerStep = 32;

}  // namespace

bool Workspace::expression(NodeId id) const {
  switch (at(id).kind) {
    case Kind::kText:
    case Kind::kTuple:
    case Kind::kList:
    case Kind::kSet:
    case Kind::kSetBuilder:
    case Kind::kEmptySet:
    case Kind::kReals:
    case Kind::kUnion:
    case Kind::kIntersection:
    case Kind::kSetMinus:
    case Kind::kRelation:
    case Kind::kMember:
    case Kind::kMatrix:
    case Kind::kBaseNumber:
    case Kind::kPlusMinus:
      return false;
    default:
      return true;
  }
}

NodeId Workspace::strip(NodeId id) const {
  while (is(id, Kind::kUnit)) id = at(id).kids[0];
  return id;
}

template <typename Wanted, typename Enter>
NodeId Workspace::find(NodeId id, const Wanted& wanted, const Enter& enter, int64_t* visited) const {
  if (id == kNoNode) return kNoNode;
  ++*visited;
  if (wanted(id)) return id;
  if (!enter(id)) return kNoNode;
  for (const NodeId kid : at(id).kids) {
    const NodeId found = find(kid, wanted, enter, visited);
    if (found != kNoNode) return found;
  }
  return kNoNode;
}

NodeId Workspace::find_plus_minus(NodeId id) {
  int64_t visited = 0;
  const NodeId found = find(
      id, [&](NodeId n) { return is(n, Kind::kPlusMinus); }, [&](NodeId n) { return expression(n); }, &visited);
  charge(visited / kVisitsPerStep);
  return found;
}

bool Workspace::has_variable(NodeId id) {
  int64_t visited = 0;
  const NodeId found = find(
      id, [&](NodeId n) { return is(n, Kind::kSymbol); }, [](NodeId) { return true; }, &visited);
  charge(visited / kVisitsPerStep);
  return found != kNoNode;
}

bool Workspace::has_matrix(NodeId id) {
  int64_t visited = 0;
  const auto enter = [&](NodeId n) { return is(n, Kind::kSum) || is(n, Kind::kProduct) || is(n, Kind::kNegate); };
  const NodeId found = find(
      id, [&](NodeId n) { return is(n, Kind::kMatrix); }, enter, &visited);
  charge(visited / kVisitsPerStep);
  return found != kNoNode;
}

bool Workspace::has_decimal(NodeId id) {
  int64_t visited = 0;
  const NodeId found = find(
      id, [&](NodeId n) { return is(n, Kind::kNumber) && at(n).name == "."; }, [](NodeId) { return true; }, &visited);
  charge(visited / kVisitsPerStep);
  return found != kNoNode;
}

NodeId Workspace::add(Kind kind, std::vector<NodeId> kids) {
  charge(kNewNodeCost);
  return tree_.add(kind, std::move(kids));
}

template <typename Replace>
NodeId Workspace::rewrite(NodeId id, const Replace& replace) {
  if (id == kNoNode || !charge(1)) return id;
  if (const NodeId other = replace(id); other != id) return other;
  std::vector<NodeId> kids;  // set at the first change
  for (size_t i = 0; i < at(id).kids.size(); ++i) {
    const NodeId kid = at(id).kids[i], next = rewrite(kid, replace);
    if (next == kid) continue;
    if (kids.empty()) kids = at(id).kids;
    kids[i] = next;
  }
  if (kids.empty()) return id;
  charge(kNewNodeCost + static_cast<int64_t>(kids.size()) / kKidsCopiedPerStep);
  Node copy = at(id);
  copy.kids = std::move(kids);
  return tree_.add(std::move(copy));
}

NodeId Workspace::substitute(NodeId id, NodeId target, NodeId replacement) {
  return rewrite(id, [&](NodeId n) { return n == target ? replacement : n; });
}

NodeId Workspace::rename(NodeId id, const std::string& from, NodeId to) {
  return rewrite(id, [&](NodeId n) { return is(n, Kind::kSymbol) && at(n).name == from ? to : n; });
}

std::vector<NodeId> Workspace::elements(NodeId id) {
  std::vector<NodeId> out;
  elements(id, 0, &out);
  return out;
}

void Workspace::elements(NodeId id, int signs, std::vector<NodeId>* out) {
  if (out->size() > kMaxElements || !charge(1)) return;
  const Kind kind = at(id).kind;
  if (kind == Kind::kList || kind == Kind::kSet) {
    for (size_t i = 0; i < at(id).kids.size(); ++i) elements(at(id).kids[i], signs, out);
    return;
  }
  const NodeId sign = signs < kMaxSigns ? find_plus_minus(id) : kNoNode;
  if (sign == kNoNode) {
    out->push_back(id);
    return;
  }
  const NodeId left = at(sign).kids[0], right = at(sign).kids[1];
  const NodeId minus_right = negated(right);
  const NodeId plus = left == kNoNode ? right : add(Kind::kSum, {left, right});
  const NodeId minus = left == kNoNode ? minus_right : add(Kind::kSum, {left, minus_right});
  elements(substitute(id, sign, plus), signs + 1, out);
  elements(substitute(id, sign, minus), signs + 1, out);
}

}  // namespace throughline::answer

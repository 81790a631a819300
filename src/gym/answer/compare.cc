#include "gym/answer/compare.h"

#include <algorithm>

#include "gym/answer/real_sets.h"
#include "gym/answer/values.h"
#include "gym/answer/workspace.h"

namespace throughline::answer {
namespace {

constexpr int kMaxDepth = 60;          // of lists, sets and tuples within each other
constexpr int64_t kCompareCost = 8;    // asking which of the comparisons applies
constexpr int64_t kBytesPerStep = 16;  // of text that is built
constexpr int64_t kKidsCopiedPerStep = 32;
constexpr int64_t kMatrixCost = 4;

class Comparer {
 public:
  Comparer(Tree tree, const CompareOptions& options, Steps* steps)
      : work_(std::move(tree), steps), options_(options), values_(&work_, options), sets_(&work_, &values_, options) {}

  Tri answers(NodeId gold, NodeId answer) {
    if (options_.expressions_only) {
      for (const NodeId id : {gold, answer}) {
        if (!work_.expression(id) && !work_.is(id, Kind::kMatrix)) return Tri::kDifferent;
      }
    }
    return compare(gold, answer, 0);
  }

  std::string canonical_text(NodeId id) { return values_.text(id); }

 private:
  // --- lists ------------------------------------------------------------------------------------------------------

  // A copy: the tree may grow while they are compared.
  std::vector<NodeId> kids(NodeId id) {
    work_.charge(static_cast<int64_t>(work_.at(id).kids.size()) / kKidsCopiedPerStep);
    return work_.at(id).kids;
  }

  // Every gold element has its own partner, and the other way round; repeated elements count once.
  Tri unordered(const std::vector<NodeId>& gold, const std::vector<NodeId>& answer, int depth) {
    bool unknown = false;
    const auto covered = [&](const std::vector<NodeId>& from, const std::vector<NodeId>& by, bool swap) {
      for (const NodeId a : from) {
        Tri best = Tri::kDifferent;
        for (const NodeId b : by) {
          const Tri t = swap ? compare(b, a, depth + 1) : compare(a, b, depth + 1);
          if (work_.steps()->exhausted()) {
            unknown = true;
            return true;
          }
          if (t == Tri::kEqual) {
            best = t;
            break;
          }
          if (t == Tri::kUnknown) best = t;
        }
        if (best == Tri::kDifferent) return false;
        unknown |= best == Tri::kUnknown;
      }
      return true;
    };
    if (!covered(gold, answer, false) || !covered(answer, gold, true)) return Tri::kDifferent;
    return unknown ? Tri::kUnknown : Tri::kEqual;
  }

  Tri ordered(const std::vector<NodeId>& gold, const std::vector<NodeId>& answer, int depth) {
    if (gold.size() != answer.size()) return Tri::kDifferent;
    Tri all = Tri::kEqual;
    for (size_t i = 0; i < gold.size() && all != Tri::kDifferent; ++i) {
      all = both(all, compare(gold[i], answer[i], depth + 1));
    }
    return all;
  }

  Tri compare_lists(NodeId gold, NodeId answer, int depth) {
    // (1,2) asked for, 1,2 or {1,2} given: the order counts. 1,2 asked for, (2,1) given: it does not.
    if (work_.is(gold, Kind::kTuple) && (work_.is(answer, Kind::kList) || work_.is(answer, Kind::kSet))) {
      return work_.at(gold).name == "()" ? ordered(kids(gold), kids(answer), depth) : Tri::kDifferent;
    }
    const std::vector<NodeId> a = work_.elements(gold);
    const bool one_tuple = work_.is(answer, Kind::kTuple) && work_.at(answer).name == "()" && a.size() > 1 &&
                           !work_.is(a[0], Kind::kTuple);
    const std::vector<NodeId> b = one_tuple ? work_.at(answer).kids : work_.elements(answer);
    if (a.size() > kMaxElements || b.size() > kMaxElements) return Tri::kUnknown;
    return unordered(a, b, depth);
  }

  bool list_like(NodeId id) {
    return work_.is(id, Kind::kList) || work_.is(id, Kind::kSet) || work_.find_plus_minus(id) != kNoNode;
  }

  // --- relations --------------------------------------------------------------------------------------------------

  // The value that an equation states: the last side; for "5 = x" nothing.
  NodeId stated_value(const Node& relation) const {
    const char last = relation.name.back();
    if (last == '=') return relation.kids.back();
    if (last == '~') {  // x = 1/3 ~ 0.33 states 1/3; x ~ 11 states 11
      for (size_t i = relation.name.size(); i-- > 0;) {
        if (relation.name[i] == '=') return relation.kids[i + 1];
      }
      return relation.kids.back();
    }
    return kNoNode;
  }

  Tri compare_relations(const Node& gold, const Node& answer, int depth) {
    const bool gold_equation = gold.name[0] == '=' || gold.name[0] == '~';
    const bool answer_equation = answer.name[0] == '=' || answer.name[0] == '~';
    if (gold_equation != answer_equation) return Tri::kDifferent;
    if (gold_equation) {
      const NodeId a = stated_value(gold), b = stated_value(answer);
      if (a == kNoNode || b == kNoNode) return Tri::kDifferent;
      const Tri sides = both(compare(gold.kids[0], answer.kids[0], depth + 1), compare(a, b, depth + 1));
      if (sides == Tri::kEqual) return sides;
      if (!work_.expression(gold.kids[0]) || !work_.expression(answer.kids[0]) || !work_.expression(a) ||
          !work_.expression(b)) {
        return sides;
      }
      if (const NodeId renamed = same_argument(gold.kids[0], answer.kids[0], b); renamed != kNoNode) {
        return compare(a, renamed, depth + 1);
      }
      return values_.proportional(work_.difference(gold.kids[0], a), work_.difference(answer.kids[0], b), 0);
    }
    if (gold.kids.size() != answer.kids.size()) return Tri::kDifferent;
    if (gold.kids.size() > 2) {
      const Tri forward = gold.name == answer.name ? ordered(gold.kids, answer.kids, depth) : Tri::kDifferent;
      if (forward == Tri::kEqual) return forward;
      std::string reversed_name(answer.name.rbegin(), answer.name.rend());
      for (char& op : reversed_name) op = flipped(op);
      const std::vector<NodeId> reversed(answer.kids.rbegin(), answer.kids.rend());
      const Tri backward = gold.name == reversed_name ? ordered(gold.kids, reversed, depth) : Tri::kDifferent;
      return backward == Tri::kDifferent ? forward : backward;
    }
    for (const NodeId kid : {gold.kids[0], gold.kids[1], answer.kids[0], answer.kids[1]}) {
      if (!work_.expression(kid)) return Tri::kDifferent;
    }
    const char a = gold.name[0], b = answer.name[0];
    if (a == 'n' || b == 'n') {
      if (a != b) return Tri::kDifferent;
      return values_.proportional(work_.difference(gold.kids[0], gold.kids[1]),
                                  work_.difference(answer.kids[0], answer.kids[1]), 0);
    }
    const NodeId left = work_.difference(gold.kids[0], gold.kids[1]),
                 right = work_.difference(answer.kids[0], answer.kids[1]);
    if (a == b) return values_.proportional(left, right, 1);
    if (a == flipped(b)) return values_.proportional(left, right, -1);
    return Tri::kDifferent;
  }

  // f(x) = ... and f(n) = ... define the same function: the second's right side in the first's variable.
  NodeId same_argument(NodeId gold, NodeId answer, NodeId value) {
    for (const NodeId id : {gold, answer}) {
      if (!work_.is(id, Kind::kProduct) || work_.at(id).kids.size() != 2 || !work_.at(id).name.empty()) return kNoNode;
      if (!work_.is(work_.at(id).kids[0], Kind::kSymbol) || !work_.is(work_.at(id).kids[1], Kind::kSymbol)) {
        return kNoNode;
      }
    }
    if (work_.at(work_.at(gold).kids[0]).name != work_.at(work_.at(answer).kids[0]).name) return kNoNode;
    return work_.rename(value, std::string(work_.at(work_.at(answer).kids[1]).name), work_.at(gold).kids[1]);
  }

  // --- matrices ---------------------------------------------------------------------------------------------------

  // A matrix, or a sum of matrices and their multiples by numbers, cell by cell.
  bool matrix_cells(NodeId id, int32_t* columns, std::vector<NodeId>* cells, int depth) {
    if (depth > 20 ||
        !work_.charge(kMatrixCost + static_cast<int64_t>(work_.at(id).kids.size()) / kKidsCopiedPerStep)) {
      return false;
    }
    const Node node = work_.at(id);  // a copy: the tree grows
    if (node.kind == Kind::kMatrix) {
      *columns = node.columns;
      *cells = node.kids;
      return true;
    }
    if (node.kind == Kind::kNegate) {
      if (!matrix_cells(node.kids[0], columns, cells, depth + 1)) return false;
      for (NodeId& cell : *cells) cell = work_.negated(cell);
      return true;
    }
    if (node.kind == Kind::kProduct) {
      NodeId factor = kNoNode;
      bool found = false;
      for (const NodeId kid : node.kids) {
        std::vector<NodeId> inner;
        int32_t inner_columns = 0;
        if (matrix_cells(kid, &inner_columns, &inner, depth + 1)) {
          if (found) return false;
          found = true;
          *cells = std::move(inner);
          *columns = inner_columns;
        } else {
          factor = factor == kNoNode ? kid : work_.add(Kind::kProduct, {factor, kid});
        }
      }
      if (!found) return false;
      if (factor != kNoNode) {
        for (NodeId& cell : *cells) cell = work_.add(Kind::kProduct, {factor, cell});
      }
      return true;
    }
    if (node.kind != Kind::kSum) return false;
    for (size_t i = 0; i < node.kids.size(); ++i) {
      std::vector<NodeId> inner;
      int32_t inner_columns = 0;
      if (!matrix_cells(node.kids[i], &inner_columns, &inner, depth + 1)) return false;
      if (i == 0) {
        *cells = inner;
        *columns = inner_columns;
        continue;
      }
      if (inner_columns != *columns || inner.size() != cells->size()) return false;
      for (size_t c = 0; c < inner.size(); ++c) (*cells)[c] = work_.add(Kind::kSum, {(*cells)[c], inner[c]});
    }
    return true;
  }

  // --- texts ------------------------------------------------------------------------------------------------------

  // Letters and digits of a text; "(C)" is C. Empty: no text.
  std::string words(NodeId id) {
    const Node& node = work_.at(id);
    std::string raw;
    if (node.kind == Kind::kText) {
      raw = node.name;
    } else if (node.kind == Kind::kSymbol) {
      raw = node.name;
    } else if (node.kind == Kind::kEuler || node.kind == Kind::kImaginary) {
      raw.push_back(node.kind == Kind::kEuler ? 'e' : 'i');
    } else if (node.kind == Kind::kProduct && node.name == "word") {
      for (const NodeId kid : node.kids) raw += words(kid);
      return raw;
    } else {
      return "";
    }
    work_.charge(1 + static_cast<int64_t>(raw.size()) / kBytesPerStep);
    std::string result;
    for (char c : raw) {
      if (c == ' ' || c == '(' || c == ')' || c == '.' || c == ',' || c == '\'' || c == '"') continue;
      if (!options_.case_sensitive_text && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      result.push_back(c);
    }
    return result;
  }

  // --- the dispatch -----------------------------------------------------------------------------------------------

  Tri compare(NodeId gold, NodeId answer, int depth) {
    if (depth > kMaxDepth || !work_.charge(kCompareCost)) return Tri::kUnknown;
    if (work_.is(gold, Kind::kText) || work_.is(answer, Kind::kText)) {
      const std::string a = words(work_.strip(gold)), b = words(work_.strip(answer));
      if (!a.empty() && !b.empty()) return yes_no(a == b);
    }
    if (work_.is(gold, Kind::kBaseNumber) || work_.is(answer, Kind::kBaseNumber)) {
      return compare_bases(gold, answer, depth);
    }
    const Tri sets = sets_.compare(gold, answer);
    if (sets != Tri::kUnknown) return sets;
    if (work_.is(gold, Kind::kMember)) return compare(work_.at(gold).kids[1], member_set(answer), depth + 1);
    if (work_.is(answer, Kind::kMember)) return compare(gold, work_.at(answer).kids[1], depth + 1);
    if (list_like(gold) || list_like(answer)) return compare_lists(gold, answer, depth);
    if (work_.is(gold, Kind::kRelation) && work_.is(answer, Kind::kRelation)) {
      return compare_relations(Node(work_.at(gold)), Node(work_.at(answer)), depth);
    }
    if (work_.is(gold, Kind::kRelation) || work_.is(answer, Kind::kRelation)) {
      return compare_stated(gold, answer, depth);
    }
    if (work_.is(gold, Kind::kTuple) && work_.is(answer, Kind::kTuple)) {
      if (work_.at(gold).name != work_.at(answer).name) return Tri::kDifferent;
      return ordered(kids(gold), kids(answer), depth);
    }
    if (work_.is(gold, Kind::kUnion) && work_.is(answer, Kind::kUnion)) {
      return unordered(kids(gold), kids(answer), depth);
    }
    std::vector<NodeId> a, b;
    int32_t a_columns = 0, b_columns = 0;
    const bool a_matrix = work_.has_matrix(gold) && matrix_cells(gold, &a_columns, &a, 0);
    const bool b_matrix = work_.has_matrix(answer) && matrix_cells(answer, &b_columns, &b, 0);
    if (a_matrix || b_matrix) {
      if (!a_matrix || !b_matrix || a_columns != b_columns) return Tri::kDifferent;
      return ordered(a, b, depth);
    }
    if (work_.expression(gold) && work_.expression(answer)) return values_.compare(gold, answer);
    return compare_texts(gold, answer);
  }

  // What only its own text equals.
  Tri compare_texts(NodeId gold, NodeId answer) {
    const std::string a = to_text(work_.tree(), gold), b = to_text(work_.tree(), answer);
    work_.charge(static_cast<int64_t>(a.size() + b.size()) / kBytesPerStep);
    if (a.size() > kMaxRenderedText || b.size() > kMaxRenderedText) return Tri::kUnknown;
    return yes_no(a == b);
  }

  // An equation on one side only: the value that it states is compared.
  Tri compare_stated(NodeId gold, NodeId answer, int depth) {
    const bool gold_states = work_.is(gold, Kind::kRelation);
    const NodeId value = stated_value(work_.at(gold_states ? gold : answer));
    if (value == kNoNode) return Tri::kDifferent;
    return gold_states ? compare(value, answer, depth + 1) : compare(gold, value, depth + 1);
  }

  NodeId member_set(NodeId id) const { return work_.is(id, Kind::kMember) ? work_.at(id).kids[1] : id; }

  Tri compare_bases(NodeId gold, NodeId answer, int depth) {
    if (work_.is(answer, Kind::kRelation) || work_.is(gold, Kind::kRelation)) {
      return compare_stated(gold, answer, depth);
    }
    if (!work_.is(gold, Kind::kBaseNumber) || !work_.is(answer, Kind::kBaseNumber)) return Tri::kDifferent;
    return yes_no(work_.at(gold).name == work_.at(answer).name && work_.at(gold).number == work_.at(answer).number);
  }

  Workspace work_;
  const CompareOptions& options_;
  Values values_;
  RealSets sets_;
};

}  // namespace

Comparison compare_answers(Tree gold, Tree prediction, const CompareOptions& options, Steps* steps) {
  constexpr int64_t kNodesMovedPerStep = 4;
  steps->charge(kCompareCost + static_cast<int64_t>(prediction.nodes.size()) / kNodesMovedPerStep);
  // One tree for both, so that they share atoms.
  const NodeId offset = static_cast<NodeId>(gold.nodes.size());
  for (Node& node : prediction.nodes) {
    for (NodeId& kid : node.kids) {
      if (kid != kNoNode) kid += offset;
    }
    gold.nodes.push_back(std::move(node));
  }
  const NodeId gold_root = gold.root, answer_root = prediction.root + offset;
  Comparer comparer(std::move(gold), options, steps);
  Comparison result;
  result.equal = comparer.answers(gold_root, answer_root);
  if (steps->exhausted() && result.equal == Tri::kDifferent) result.equal = Tri::kUnknown;
  result.normalized = comparer.canonical_text(answer_root);
  return result;
}

}  // namespace throughline::answer

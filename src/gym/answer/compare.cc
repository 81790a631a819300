#include "gym/answer/compare.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "gym/answer/numeric.h"

namespace throughline::answer {
namespace {

constexpr size_t kMaxElements = 200;
constexpr int64_t kAlgebraSteps = 12000;  // of the budget of one comparison
constexpr int kPoints = 4;
constexpr int kPointsNeeded = 2;  // that many must have a value

Tri both(Tri a, Tri b) {
  if (a == Tri::kDifferent || b == Tri::kDifferent) return Tri::kDifferent;
  return a == Tri::kUnknown || b == Tri::kUnknown ? Tri::kUnknown : Tri::kEqual;
}

Tri yes_no(bool yes) { return yes ? Tri::kEqual : Tri::kDifferent; }

char flipped(char op) {
  switch (op) {
    case '<':
      return '>';
    case '>':
      return '<';
    case 'l':
      return 'g';
    case 'g':
      return 'l';
    default:
      return op;
  }
}

bool ordering(char op) { return op == '<' || op == '>' || op == 'l' || op == 'g'; }

// One piece of a set of reals. An end without a node is infinite.
struct Piece {
  NodeId low = kNoNode, high = kNoNode;
  bool low_closed = false, high_closed = false;
  long double low_value = 0, high_value = 0;
};

struct RealSet {
  std::vector<Piece> pieces;
  NodeId subject = kNoNode;  // what is in the set ("x"), if it was said
};

class Comparer {
 public:
  Comparer(Tree tree, const CompareOptions& options, Steps* steps)
      : tree_(std::move(tree)), options_(options), steps_(steps), algebra_(tree_, kAlgebraSteps, steps) {}

  Tri answers(NodeId gold, NodeId answer) {
    if (options_.expressions_only) {
      for (const NodeId id : {gold, answer}) {
        if (!expression(id) && !is(id, Kind::kMatrix)) return Tri::kDifferent;
      }
    }
    return compare(gold, answer, 0);
  }

  std::string canonical_text(NodeId id) {
    Quotient form;
    const NodeId inner = strip(id);
    if (expression(inner) && algebra_.canonical(inner, &form)) return algebra_.to_text(form);
    return to_text(tree_, id);
  }

 private:
  const Node& at(NodeId id) const { return tree_[id]; }
  bool is(NodeId id, Kind kind) const { return id != kNoNode && at(id).kind == kind; }

  bool expression(NodeId id) const {
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

  // Without the unit.
  NodeId strip(NodeId id) const {
    while (is(id, Kind::kUnit)) id = at(id).kids[0];
    return id;
  }

  // --- lists ------------------------------------------------------------------------------------------------------

  // The first ± or ∓ below `id` (depth first), or kNoNode.
  NodeId find_plus_minus(NodeId id) const {
    if (id == kNoNode) return kNoNode;
    if (at(id).kind == Kind::kPlusMinus) return id;
    if (!expression(id)) return kNoNode;
    for (const NodeId kid : at(id).kids) {
      const NodeId found = find_plus_minus(kid);
      if (found != kNoNode) return found;
    }
    return kNoNode;
  }

  // A copy of `id` in which node `target` is replaced.
  NodeId substitute(NodeId id, NodeId target, NodeId replacement) {
    if (id == target) return replacement;
    if (id == kNoNode || !steps_->charge(1)) return id;
    Node copy = at(id);
    bool changed = false;
    for (NodeId& kid : copy.kids) {
      const NodeId next = substitute(kid, target, replacement);
      changed |= next != kid;
      kid = next;
    }
    return changed ? tree_.add(std::move(copy)) : id;
  }

  // Elements of lists and sets, with ± written out; a single answer is a list of one.
  void elements(NodeId id, int signs, std::vector<NodeId>* out) {
    if (out->size() > kMaxElements || !steps_->charge(1)) return;
    const Kind kind = at(id).kind;
    if (kind == Kind::kList || kind == Kind::kSet) {
      const std::vector<NodeId> kids = at(id).kids;
      for (const NodeId kid : kids) elements(kid, signs, out);
      return;
    }
    const NodeId sign = signs < 3 ? find_plus_minus(id) : kNoNode;
    if (sign == kNoNode) {
      out->push_back(id);
      return;
    }
    const std::vector<NodeId> kids = at(sign).kids;
    const NodeId minus_term = tree_.add(Kind::kNegate, {kids[1]});
    const NodeId plus = kids[0] == kNoNode ? kids[1] : tree_.add(Kind::kSum, {kids[0], kids[1]});
    const NodeId minus = kids[0] == kNoNode ? minus_term : tree_.add(Kind::kSum, {kids[0], minus_term});
    elements(substitute(id, sign, plus), signs + 1, out);
    elements(substitute(id, sign, minus), signs + 1, out);
  }

  // Every gold element has its own partner, and the other way round; repeated elements count once.
  Tri unordered(const std::vector<NodeId>& gold, const std::vector<NodeId>& answer, int depth) {
    bool unknown = false;
    const auto covered = [&](const std::vector<NodeId>& from, const std::vector<NodeId>& by, bool swap) {
      for (const NodeId a : from) {
        Tri best = Tri::kDifferent;
        for (const NodeId b : by) {
          const Tri t = swap ? compare(b, a, depth + 1) : compare(a, b, depth + 1);
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
    if (is(gold, Kind::kTuple) && (is(answer, Kind::kList) || is(answer, Kind::kSet))) {
      return at(gold).name == "()"
                 ? ordered(std::vector<NodeId>(at(gold).kids), std::vector<NodeId>(at(answer).kids), depth)
                 : Tri::kDifferent;
    }
    std::vector<NodeId> a, b;
    elements(gold, 0, &a);
    if (is(answer, Kind::kTuple) && at(answer).name == "()" && a.size() > 1 && !is(a[0], Kind::kTuple)) {
      b = at(answer).kids;
    } else {
      elements(answer, 0, &b);
    }
    if (a.size() > kMaxElements || b.size() > kMaxElements) return Tri::kUnknown;
    return unordered(a, b, depth);
  }

  bool list_like(NodeId id) { return is(id, Kind::kList) || is(id, Kind::kSet) || find_plus_minus(id) != kNoNode; }

  // --- sets of reals ----------------------------------------------------------------------------------------------

  bool end_value(NodeId id, long double* value) {
    const std::complex<long double> z = evaluate<long double>(tree_, id, 0, steps_);
    if (has_variable(tree_, id) || z.imag() != 0 || !std::isfinite(z.real())) return false;
    *value = z.real();
    return true;
  }
  int infinite(NodeId id) const {
    if (is(id, Kind::kInfinity)) return 1;
    if (is(id, Kind::kNegate) && is(at(id).kids[0], Kind::kInfinity)) return -1;
    return 0;
  }

  // False: not an interval whose ends can be placed on the line.
  bool make_piece(NodeId low, bool low_closed, NodeId high, bool high_closed, Piece* piece) {
    *piece = Piece{low, high, low_closed, high_closed, 0, 0};
    if (low != kNoNode && infinite(low) == -1) piece->low = kNoNode;
    if (high != kNoNode && infinite(high) == 1) piece->high = kNoNode;
    if (piece->low == kNoNode) piece->low_closed = false;
    if (piece->high == kNoNode) piece->high_closed = false;
    if (piece->low != kNoNode && !end_value(piece->low, &piece->low_value)) return false;
    if (piece->high != kNoNode && !end_value(piece->high, &piece->high_value)) return false;
    if (piece->low != kNoNode && piece->high != kNoNode) {
      if (piece->low_value > piece->high_value) return false;
    }
    return true;
  }

  bool from_relation(const Node& relation, RealSet* out) {
    const std::string ops = relation.name;
    std::vector<NodeId> kids = relation.kids;
    if (kids.size() == 3 && ordering(ops[0]) && ordering(ops[1])) {
      const bool up = ops[0] == '<' || ops[0] == 'l';
      if (up != (ops[1] == '<' || ops[1] == 'l')) return false;
      const bool first_closed = ops[0] == 'l' || ops[0] == 'g', second_closed = ops[1] == 'l' || ops[1] == 'g';
      Piece piece;
      const bool ok = up ? make_piece(kids[0], first_closed, kids[2], second_closed, &piece)
                         : make_piece(kids[2], second_closed, kids[0], first_closed, &piece);
      if (!ok) return false;
      out->subject = kids[1];
      if (is(kids[1], Kind::kAbsolute) && piece.low != kNoNode && piece.high != kNoNode && piece.low_value >= 0) {
        // a <= |x| <= b: two intervals
        Piece mirror;
        if (!make_piece(tree_.add(Kind::kNegate, {piece.high}), piece.high_closed,
                        tree_.add(Kind::kNegate, {piece.low}), piece.low_closed, &mirror)) {
          return false;
        }
        out->subject = at(kids[1]).kids[0];
        out->pieces.push_back(mirror);
      }
      out->pieces.push_back(piece);
      return true;
    }
    if (kids.size() != 2) return false;
    char op = ops[0];
    long double bound = 0;
    if (!end_value(kids[1], &bound)) {
      std::swap(kids[0], kids[1]);
      op = flipped(op);
    }
    if (!is(kids[0], Kind::kSymbol) && !is(kids[0], Kind::kAbsolute) && !is(kids[0], Kind::kProduct)) return false;
    if (!has_variable(tree_, kids[0]) || !end_value(kids[1], &bound)) return false;
    out->subject = kids[0];
    Piece piece;
    if (op == '<' || op == 'l') {
      if (is(kids[0], Kind::kAbsolute)) {
        out->subject = at(kids[0]).kids[0];
        if (!make_piece(tree_.add(Kind::kNegate, {kids[1]}), op == 'l', kids[1], op == 'l', &piece)) return false;
      } else if (!make_piece(kNoNode, false, kids[1], op == 'l', &piece)) {
        return false;
      }
      out->pieces.push_back(piece);
    } else if (op == '>' || op == 'g') {
      if (is(kids[0], Kind::kAbsolute)) return false;
      if (!make_piece(kids[1], op == 'g', kNoNode, false, &piece)) return false;
      out->pieces.push_back(piece);
    } else if (op == 'n') {
      if (!make_piece(kNoNode, false, kids[1], false, &piece)) return false;
      out->pieces.push_back(piece);
      if (!make_piece(kids[1], false, kNoNode, false, &piece)) return false;
      out->pieces.push_back(piece);
    } else {
      return false;
    }
    // Only a plain variable (or |variable|) is solved for; 2x < 3 is left to the comparison of relations.
    return is(out->subject, Kind::kSymbol) || is(out->subject, Kind::kProduct);
  }

  bool real_set(NodeId id, RealSet* out, int depth) {
    if (depth > 20 || !steps_->charge(1)) return false;
    const Node node = at(id);
    Piece piece;
    switch (node.kind) {
      case Kind::kEmptySet:
        return true;
      case Kind::kReals:
        out->pieces.push_back(Piece{});
        return true;
      case Kind::kTuple:
        if (node.kids.size() != 2 ||
            !make_piece(node.kids[0], node.name[0] == '[', node.kids[1], node.name[1] == ']', &piece)) {
          return false;
        }
        out->pieces.push_back(piece);
        return true;
      case Kind::kSet: {
        std::vector<NodeId> points;
        elements(id, 0, &points);
        for (const NodeId point : points) {
          if (!make_piece(point, true, point, true, &piece) || piece.low == kNoNode) return false;
          out->pieces.push_back(piece);
        }
        return true;
      }
      case Kind::kUnion:
        for (const NodeId kid : node.kids) {
          if (!real_set(kid, out, depth + 1)) return false;
        }
        return true;
      case Kind::kList: {  // "x < 1 or x > 3"
        for (const NodeId kid : node.kids) {
          if (!is(kid, Kind::kRelation) || !real_set(kid, out, depth + 1)) return false;
        }
        return true;
      }
      case Kind::kSetMinus: {
        RealSet removed;
        if (!real_set(node.kids[0], out, depth + 1) || !real_set(node.kids[1], &removed, depth + 1)) return false;
        return remove_points(out, removed);
      }
      case Kind::kMember: {
        out->subject = node.kids[0];
        const NodeId subject = out->subject;
        const bool ok = real_set(node.kids[1], out, depth + 1);
        out->subject = subject;
        return ok;
      }
      case Kind::kSetBuilder:
        return real_set(node.kids[1], out, depth + 1);
      case Kind::kRelation:
        return from_relation(node, out);
      default:
        return false;
    }
  }

  bool remove_points(RealSet* from, const RealSet& points) {
    for (const Piece& point : points.pieces) {
      if (point.low != point.high || point.low == kNoNode) return false;
      for (size_t i = 0; i < from->pieces.size(); ++i) {
        Piece& piece = from->pieces[i];
        const bool above = piece.low == kNoNode || piece.low_value < point.low_value;
        const bool below = piece.high == kNoNode || piece.high_value > point.low_value;
        if (above && below) {
          Piece right = piece;
          right.low = point.low;
          right.low_value = point.low_value;
          right.low_closed = false;
          piece.high = point.low;
          piece.high_value = point.low_value;
          piece.high_closed = false;
          from->pieces.push_back(right);
          break;
        }
        if (piece.low != kNoNode && piece.low_value == point.low_value) piece.low_closed = false;
        if (piece.high != kNoNode && piece.high_value == point.low_value) piece.high_closed = false;
      }
      if (from->pieces.size() > kMaxElements) return false;
    }
    return true;
  }

  // Sorted, with touching pieces joined.
  static void tidy(RealSet* set) {
    const auto low = [](const Piece& p) { return p.low == kNoNode ? -INFINITY : p.low_value; };
    const auto high = [](const Piece& p) { return p.high == kNoNode ? INFINITY : p.high_value; };
    std::stable_sort(set->pieces.begin(), set->pieces.end(), [&](const Piece& a, const Piece& b) {
      if (low(a) != low(b)) return low(a) < low(b);
      if (a.low_closed != b.low_closed) return a.low_closed;
      return high(a) < high(b);
    });
    std::vector<Piece> joined;
    for (const Piece& p : set->pieces) {
      if (!joined.empty()) {
        Piece& last = joined.back();
        const bool touch = high(last) > low(p) || (high(last) == low(p) && (last.high_closed || p.low_closed));
        if (touch) {
          if (high(p) > high(last) || (high(p) == high(last) && p.high_closed)) {
            last.high = p.high;
            last.high_value = p.high_value;
            last.high_closed = p.high_closed;
          }
          continue;
        }
      }
      joined.push_back(p);
    }
    set->pieces = std::move(joined);
  }

  Tri same_end(NodeId a, NodeId b, int depth) {
    if (a == kNoNode || b == kNoNode) return yes_no(a == b);
    return compare_values(strip(a), strip(b), depth + 1);
  }

  Tri compare_real_sets(RealSet gold, RealSet answer, int depth) {
    tidy(&gold);
    tidy(&answer);
    if (gold.pieces.size() != answer.pieces.size()) return Tri::kDifferent;
    Tri all = Tri::kEqual;
    for (size_t i = 0; i < gold.pieces.size() && all != Tri::kDifferent; ++i) {
      const Piece &a = gold.pieces[i], &b = answer.pieces[i];
      if (a.low_closed != b.low_closed || a.high_closed != b.high_closed) return Tri::kDifferent;
      all = both(all, both(same_end(a.low, b.low, depth), same_end(a.high, b.high, depth)));
    }
    if (gold.subject != kNoNode && answer.subject != kNoNode && all != Tri::kDifferent) {
      all = both(all, compare_values(gold.subject, answer.subject, depth + 1));
    }
    return all;
  }

  bool describes_set(NodeId id) const {
    switch (at(id).kind) {
      case Kind::kUnion:
      case Kind::kIntersection:
      case Kind::kSetMinus:
      case Kind::kSetBuilder:
      case Kind::kMember:
      case Kind::kReals:
      case Kind::kEmptySet:
        return true;
      case Kind::kRelation:
        return ordering(at(id).name[0]) || at(id).name[0] == 'n';
      case Kind::kTuple:
        return at(id).name != "()" && at(id).kids.size() == 2;
      case Kind::kList:
        return std::all_of(at(id).kids.begin(), at(id).kids.end(), [&](NodeId kid) {
          return is(kid, Kind::kRelation) && at(kid).name[0] != '=' && at(kid).name[0] != '~';
        });
      default:
        return false;
    }
  }

  // kUnknown here means: not comparable as sets of reals.
  Tri try_real_sets(NodeId gold, NodeId answer, int depth) {
    if (!describes_set(gold) && !describes_set(answer)) return Tri::kUnknown;
    const bool gold_relation = is(gold, Kind::kRelation) || is(gold, Kind::kList);
    const bool answer_relation = is(answer, Kind::kRelation) || is(answer, Kind::kList);
    if (gold_relation && answer_relation && !is(gold, Kind::kList)) return Tri::kUnknown;
    if (!options_.inequality_for_interval && !gold_relation && answer_relation) return Tri::kUnknown;
    RealSet a, b;
    if (!real_set(gold, &a, 0) || !real_set(answer, &b, 0)) return Tri::kUnknown;
    return compare_real_sets(std::move(a), std::move(b), depth);
  }

  // --- relations --------------------------------------------------------------------------------------------------

  NodeId difference(NodeId a, NodeId b) { return tree_.add(Kind::kSum, {a, tree_.add(Kind::kNegate, {b})}); }

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
      if (!expression(gold.kids[0]) || !expression(answer.kids[0]) || !expression(a) || !expression(b)) return sides;
      if (const NodeId renamed = same_argument(gold.kids[0], answer.kids[0], b); renamed != kNoNode) {
        return compare(a, renamed, depth + 1);
      }
      return proportional(difference(gold.kids[0], a), difference(answer.kids[0], b), 0);
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
      if (!expression(kid)) return Tri::kDifferent;
    }
    const char a = gold.name[0], b = answer.name[0];
    if (a == 'n' || b == 'n') {
      if (a != b) return Tri::kDifferent;
      return proportional(difference(gold.kids[0], gold.kids[1]), difference(answer.kids[0], answer.kids[1]), 0);
    }
    const NodeId left = difference(gold.kids[0], gold.kids[1]), right = difference(answer.kids[0], answer.kids[1]);
    if (a == b) return proportional(left, right, 1);
    if (a == flipped(b)) return proportional(left, right, -1);
    return Tri::kDifferent;
  }

  // f(x) = ... and f(n) = ... define the same function: the second's right side in the first's variable.
  NodeId same_argument(NodeId gold, NodeId answer, NodeId value) {
    for (const NodeId id : {gold, answer}) {
      if (!is(id, Kind::kProduct) || at(id).kids.size() != 2 || !at(id).name.empty()) return kNoNode;
      if (!is(at(id).kids[0], Kind::kSymbol) || !is(at(id).kids[1], Kind::kSymbol)) return kNoNode;
    }
    if (at(at(gold).kids[0]).name != at(at(answer).kids[0]).name) return kNoNode;
    return rename(value, std::string(at(at(answer).kids[1]).name), at(gold).kids[1]);
  }
  NodeId rename(NodeId id, const std::string& from, NodeId to) {
    if (id == kNoNode || !steps_->charge(1)) return id;
    if (is(id, Kind::kSymbol)) return at(id).name == from ? to : id;
    Node copy = at(id);
    bool changed = false;
    for (NodeId& kid : copy.kids) {
      const NodeId next = rename(kid, from, to);
      changed |= next != kid;
      kid = next;
    }
    return changed ? tree_.add(std::move(copy)) : id;
  }

  // sign: 0 any factor, else the sign that the factor must have.
  Tri proportional(NodeId a, NodeId b, int sign) {
    Quotient x, y;
    if (!algebra_.canonical(a, &x) || !algebra_.canonical(b, &y)) return Tri::kUnknown;
    int found = 0;
    if (algebra_.proportional(x, y, &found)) return yes_no(sign == 0 || found == sign);
    // Ratio at points: constant, or not.
    std::complex<long double> first = 0;
    int valid = 0;
    for (int point = 0; point < kPoints; ++point) {
      const auto ratio =
          evaluate<long double>(tree_, a, point, steps_) / evaluate<long double>(tree_, b, point, steps_);
      if (!std::isfinite(ratio.real()) || !std::isfinite(ratio.imag()) || std::abs(ratio) < 1e-12L) continue;
      if (valid++ == 0) {
        first = ratio;
      } else if (std::abs(ratio - first) > 1e-12L * std::abs(first)) {
        return Tri::kDifferent;
      }
    }
    if (valid < kPointsNeeded) return Tri::kUnknown;
    return yes_no(sign == 0 || (first.real() > 0) == (sign > 0));
  }

  // --- values -----------------------------------------------------------------------------------------------------

  bool has_decimal(NodeId id) const {
    if (id == kNoNode) return false;
    if (is(id, Kind::kNumber) && at(id).name == ".") return true;
    return std::any_of(at(id).kids.begin(), at(id).kids.end(), [&](NodeId kid) { return has_decimal(kid); });
  }

  Tri numeric(NodeId a, NodeId b) {
    const int points = has_variable(tree_, a) || has_variable(tree_, b) ? kPoints : 1;
    int valid = 0;
    for (int point = 0; point < points; ++point) {
      const auto a2 = evaluate<long double>(tree_, a, point, steps_),
                 b2 = evaluate<long double>(tree_, b, point, steps_);
      const std::complex<long double> a1 = evaluate<double>(tree_, a, point, steps_);
      const std::complex<long double> b1 = evaluate<double>(tree_, b, point, steps_);
      if (steps_->exhausted()) return Tri::kUnknown;
      const long double scale = std::max(std::abs(a2), std::abs(b2));
      // The two precisions differ by the rounding error of the coarser: below it nothing can be told apart.
      const long double noise = std::abs(a1 - a2) + std::abs(b1 - b2);
      const long double gap = std::abs(a2 - b2);
      if (!std::isfinite(gap) || !std::isfinite(noise) || !std::isfinite(scale)) continue;
      if (scale != 0 && scale < 1e-290L) continue;  // too small for double to confirm
      ++valid;
      if (gap > 1e-15L * scale && gap > 0.02L * noise) return Tri::kDifferent;
      if (noise > 1e-6L * scale && scale > 1e-12L) return Tri::kUnknown;  // cancellation ate the digits
    }
    return valid >= std::min(points, kPointsNeeded) ? Tri::kEqual : Tri::kUnknown;
  }

  // One side is a decimal: equal when both round to the same. Tiny numbers must agree relatively as well.
  bool rounds_to(NodeId a, NodeId b) {
    if (!has_decimal(a) && !has_decimal(b)) return false;
    long double x = 0, y = 0;
    if (!end_value(a, &x) || !end_value(b, &y)) return false;
    const long double scale = std::pow(10.0L, options_.decimal_places);
    if (std::abs(x) * scale > 1e17L || std::abs(y) * scale > 1e17L) return false;
    // std::round, not nearbyint: independent of the rounding mode.
    if (std::round(x * scale) != std::round(y * scale)) return false;
    return std::abs(x - y) <= 1e-4L * std::max(std::abs(x), std::abs(y));
  }

  Tri compare_values(NodeId a, NodeId b, int depth) {
    if (depth > 60) return Tri::kUnknown;
    Quotient x, y;
    const bool have_x = algebra_.canonical(a, &x), have_y = algebra_.canonical(b, &y);
    Tri exact = Tri::kUnknown;
    if (have_x && have_y) exact = algebra_.equal(x, y);
    if (exact == Tri::kUnknown) exact = numeric(a, b);
    if (exact != Tri::kEqual && rounds_to(a, b)) return Tri::kEqual;
    long double u = 0, v = 0;
    if (exact != Tri::kEqual && options_.relative_tolerance > 0 && end_value(a, &u) && end_value(b, &v) &&
        std::abs(u - v) <= options_.relative_tolerance * std::max(std::abs(u), std::abs(v))) {
      return Tri::kEqual;
    }
    return exact;
  }

  Tri compare_expressions(NodeId gold, NodeId answer, int depth) {
    if (is(gold, Kind::kUnit) && is(answer, Kind::kUnit) && options_.units_must_agree &&
        at(gold).name != at(answer).name) {
      return Tri::kDifferent;
    }
    const NodeId a = strip(gold), b = strip(answer);
    const Tri equal = compare_values(a, b, depth);
    if (equal == Tri::kEqual || !options_.percent_leniency) return equal;
    if (is(a, Kind::kPercent) && !is(b, Kind::kPercent)) return compare_values(at(a).kids[0], b, depth);
    return equal;
  }

  // --- matrices ---------------------------------------------------------------------------------------------------

  // A matrix, or a sum of matrices and their multiples by numbers, cell by cell.
  bool matrix_cells(NodeId id, int32_t* columns, std::vector<NodeId>* cells, int depth) {
    if (depth > 20 || !steps_->charge(1)) return false;
    const Node node = at(id);
    if (node.kind == Kind::kMatrix) {
      *columns = node.columns;
      *cells = node.kids;
      return true;
    }
    if (node.kind == Kind::kNegate) {
      if (!matrix_cells(node.kids[0], columns, cells, depth + 1)) return false;
      for (NodeId& cell : *cells) cell = tree_.add(Kind::kNegate, {cell});
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
          factor = factor == kNoNode ? kid : tree_.add(Kind::kProduct, {factor, kid});
        }
      }
      if (!found) return false;
      if (factor != kNoNode) {
        for (NodeId& cell : *cells) cell = tree_.add(Kind::kProduct, {factor, cell});
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
      for (size_t c = 0; c < inner.size(); ++c) (*cells)[c] = tree_.add(Kind::kSum, {(*cells)[c], inner[c]});
    }
    return true;
  }

  // --- texts ------------------------------------------------------------------------------------------------------

  // Letters and digits of a text; "(C)" is C. Empty: no text.
  std::string words(NodeId id) const {
    const Node& node = at(id);
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
    if (depth > 60 || !steps_->charge(1)) return Tri::kUnknown;
    if (is(gold, Kind::kText) || is(answer, Kind::kText)) {
      const std::string a = words(strip(gold)), b = words(strip(answer));
      if (!a.empty() && !b.empty()) return yes_no(a == b);
    }
    if (is(gold, Kind::kBaseNumber) || is(answer, Kind::kBaseNumber)) return compare_bases(gold, answer, depth);
    const Tri sets = try_real_sets(gold, answer, depth);
    if (sets != Tri::kUnknown) return sets;
    if (is(gold, Kind::kMember)) return compare(at(gold).kids[1], member_set(answer), depth + 1);
    if (is(answer, Kind::kMember)) return compare(gold, at(answer).kids[1], depth + 1);
    if (list_like(gold) || list_like(answer)) return compare_lists(gold, answer, depth);
    if (is(gold, Kind::kRelation) && is(answer, Kind::kRelation)) {
      return compare_relations(Node(at(gold)), Node(at(answer)), depth);
    }
    if (is(gold, Kind::kRelation) || is(answer, Kind::kRelation)) {
      const bool gold_is = is(gold, Kind::kRelation);
      const NodeId value = stated_value(at(gold_is ? gold : answer));
      if (value == kNoNode) return Tri::kDifferent;
      return gold_is ? compare(value, answer, depth + 1) : compare(gold, value, depth + 1);
    }
    if (is(gold, Kind::kTuple) && is(answer, Kind::kTuple)) {
      if (at(gold).name != at(answer).name) return Tri::kDifferent;
      return ordered(std::vector<NodeId>(at(gold).kids), std::vector<NodeId>(at(answer).kids), depth);
    }
    if (is(gold, Kind::kUnion) && is(answer, Kind::kUnion)) {
      return unordered(std::vector<NodeId>(at(gold).kids), std::vector<NodeId>(at(answer).kids), depth);
    }
    std::vector<NodeId> a, b;
    int32_t a_columns = 0, b_columns = 0;
    const bool a_matrix = matrix_cells(gold, &a_columns, &a, 0), b_matrix = matrix_cells(answer, &b_columns, &b, 0);
    if (a_matrix || b_matrix) {
      if (!a_matrix || !b_matrix || a_columns != b_columns) return Tri::kDifferent;
      return ordered(a, b, depth);
    }
    if (expression(gold) && expression(answer)) return compare_expressions(gold, answer, depth);
    return yes_no(to_text(tree_, gold) == to_text(tree_, answer));
  }

  NodeId member_set(NodeId id) const { return is(id, Kind::kMember) ? at(id).kids[1] : id; }

  Tri compare_bases(NodeId gold, NodeId answer, int depth) {
    if (is(answer, Kind::kRelation) || is(gold, Kind::kRelation)) {
      const bool gold_is = is(gold, Kind::kRelation);
      const NodeId value = stated_value(at(gold_is ? gold : answer));
      if (value == kNoNode) return Tri::kDifferent;
      return gold_is ? compare(value, answer, depth + 1) : compare(gold, value, depth + 1);
    }
    if (!is(gold, Kind::kBaseNumber) || !is(answer, Kind::kBaseNumber)) return Tri::kDifferent;
    return yes_no(at(gold).name == at(answer).name && at(gold).number == at(answer).number);
  }

  Tree tree_;
  const CompareOptions& options_;
  Steps* steps_;
  Algebra algebra_;
};

}  // namespace

Comparison compare_answers(Tree gold, Tree prediction, const CompareOptions& options, Steps* steps) {
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

#include "gym/answer/real_sets.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace throughline::answer {

constexpr int64_t kReadCost = 4;       // a node is copied: the tree may grow meanwhile
constexpr int64_t kPiecesPerStep = 8;  // looked at

bool is_ordering(char op) { return op == '<' || op == '>' || op == 'l' || op == 'g'; }

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

int RealSets::infinite(NodeId id) const {
  if (work_.is(id, Kind::kInfinity)) return 1;
  if (work_.is(id, Kind::kNegate) && work_.is(work_.at(id).kids[0], Kind::kInfinity)) return -1;
  return 0;
}

bool RealSets::make_piece(NodeId low, bool low_closed, NodeId high, bool high_closed, Piece* piece) {
  *piece = Piece{low, high, low_closed, high_closed, 0, 0};
  if (low != kNoNode && infinite(low) == -1) piece->low = kNoNode;
  if (high != kNoNode && infinite(high) == 1) piece->high = kNoNode;
  if (piece->low == kNoNode) piece->low_closed = false;
  if (piece->high == kNoNode) piece->high_closed = false;
  if (piece->low != kNoNode && !values_.real_value(piece->low, &piece->low_value)) return false;
  if (piece->high != kNoNode && !values_.real_value(piece->high, &piece->high_value)) return false;
  if (piece->low != kNoNode && piece->high != kNoNode) {
    if (piece->low_value > piece->high_value) return false;
  }
  return true;
}

// a < x <= b, and a <= |x| <= b, which is two intervals.
bool RealSets::read_chain(const Node& relation, RealSet* out) {
  const std::string& ops = relation.name;
  const std::vector<NodeId>& kids = relation.kids;
  if (!is_ordering(ops[0]) || !is_ordering(ops[1])) return false;
  const bool up = ops[0] == '<' || ops[0] == 'l';
  if (up != (ops[1] == '<' || ops[1] == 'l')) return false;
  const bool first_closed = ops[0] == 'l' || ops[0] == 'g', second_closed = ops[1] == 'l' || ops[1] == 'g';
  Piece piece;
  const bool ok = up ? make_piece(kids[0], first_closed, kids[2], second_closed, &piece)
                     : make_piece(kids[2], second_closed, kids[0], first_closed, &piece);
  if (!ok) return false;
  out->subject = kids[1];
  if (work_.is(kids[1], Kind::kAbsolute) && piece.low != kNoNode && piece.high != kNoNode && piece.low_value >= 0) {
    Piece mirror;
    if (!make_piece(work_.negated(piece.high), piece.high_closed, work_.negated(piece.low), piece.low_closed,
                    &mirror)) {
      return false;
    }
    out->subject = work_.at(kids[1]).kids[0];
    out->pieces.push_back(mirror);
  }
  out->pieces.push_back(piece);
  return true;
}

bool RealSets::read_relation(const Node& relation, RealSet* out) {
  const std::string ops = relation.name;
  std::vector<NodeId> kids = relation.kids;
  if (kids.size() == 3) return read_chain(relation, out);
  if (kids.size() != 2) return false;
  char op = ops[0];
  long double bound = 0;
  if (!values_.real_value(kids[1], &bound)) {
    std::swap(kids[0], kids[1]);
    op = flipped(op);
  }
  if (!work_.is(kids[0], Kind::kSymbol) && !work_.is(kids[0], Kind::kAbsolute) && !work_.is(kids[0], Kind::kProduct))
    return false;
  if (!work_.has_variable(kids[0]) || !values_.real_value(kids[1], &bound)) return false;
  out->subject = kids[0];
  Piece piece;
  if (op == '<' || op == 'l') {
    if (work_.is(kids[0], Kind::kAbsolute)) {
      out->subject = work_.at(kids[0]).kids[0];
      if (!make_piece(work_.negated(kids[1]), op == 'l', kids[1], op == 'l', &piece)) return false;
    } else if (!make_piece(kNoNode, false, kids[1], op == 'l', &piece)) {
      return false;
    }
    out->pieces.push_back(piece);
  } else if (op == '>' || op == 'g') {
    if (work_.is(kids[0], Kind::kAbsolute)) return false;
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
  return work_.is(out->subject, Kind::kSymbol) || work_.is(out->subject, Kind::kProduct);
}

bool RealSets::read(NodeId id, RealSet* out, int depth) {
  if (depth > 20 || !work_.charge(kReadCost)) return false;
  const Node node = work_.at(id);
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
    case Kind::kSet:
      for (const NodeId point : work_.elements(id)) {
        if (!make_piece(point, true, point, true, &piece) || piece.low == kNoNode) return false;
        out->pieces.push_back(piece);
      }
      return true;
    case Kind::kUnion:
      for (const NodeId kid : node.kids) {
        if (!read(kid, out, depth + 1)) return false;
      }
      return true;
    case Kind::kList:  // "x < 1 or x > 3"
      for (const NodeId kid : node.kids) {
        if (!work_.is(kid, Kind::kRelation) || !read(kid, out, depth + 1)) return false;
      }
      return true;
    case Kind::kSetMinus: {
      RealSet removed;
      if (!read(node.kids[0], out, depth + 1) || !read(node.kids[1], &removed, depth + 1)) return false;
      return remove_points(out, removed);
    }
    case Kind::kMember: {
      out->subject = node.kids[0];
      const NodeId subject = out->subject;
      const bool ok = read(node.kids[1], out, depth + 1);
      out->subject = subject;
      return ok;
    }
    case Kind::kSetBuilder:
      return read(node.kids[1], out, depth + 1);
    case Kind::kRelation:
      return read_relation(node, out);
    default:
      return false;
  }
}

bool RealSets::remove_points(RealSet* from, const RealSet& points) {
  for (const Piece& point : points.pieces) {
    if (point.low != point.high || point.low == kNoNode) return false;
    if (!work_.charge(1 + static_cast<int64_t>(from->pieces.size()) / kPiecesPerStep)) return false;
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
void RealSets::tidy(RealSet* set) {
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

Tri RealSets::same_end(NodeId a, NodeId b) {
  if (a == kNoNode || b == kNoNode) return yes_no(a == b);
  return values_.same(work_.strip(a), work_.strip(b));
}

Tri RealSets::same_sets(RealSet gold, RealSet answer) {
  if (!work_.charge(static_cast<int64_t>(gold.pieces.size() + answer.pieces.size()))) return Tri::kUnknown;
  tidy(&gold);
  tidy(&answer);
  if (gold.pieces.size() != answer.pieces.size()) return Tri::kDifferent;
  Tri all = Tri::kEqual;
  for (size_t i = 0; i < gold.pieces.size() && all != Tri::kDifferent; ++i) {
    const Piece &a = gold.pieces[i], &b = answer.pieces[i];
    if (a.low_closed != b.low_closed || a.high_closed != b.high_closed) return Tri::kDifferent;
    all = both(all, both(same_end(a.low, b.low), same_end(a.high, b.high)));
  }
  if (gold.subject != kNoNode && answer.subject != kNoNode && all != Tri::kDifferent) {
    all = both(all, values_.same(gold.subject, answer.subject));
  }
  return all;
}

bool RealSets::describes_set(NodeId id) const {
  switch (work_.at(id).kind) {
    case Kind::kUnion:
    case Kind::kIntersection:
    case Kind::kSetMinus:
    case Kind::kSetBuilder:
    case Kind::kMember:
    case Kind::kReals:
    case Kind::kEmptySet:
      return true;
    case Kind::kRelation:
      return is_ordering(work_.at(id).name[0]) || work_.at(id).name[0] == 'n';
    case Kind::kTuple:
      return work_.at(id).name != "()" && work_.at(id).kids.size() == 2;
    case Kind::kList:
      return std::all_of(work_.at(id).kids.begin(), work_.at(id).kids.end(), [&](NodeId kid) {
        return work_.is(kid, Kind::kRelation) && work_.at(kid).name[0] != '=' && work_.at(kid).name[0] != '~';
      });
    default:
      return false;
  }
}

Tri RealSets::compare(NodeId gold, NodeId answer) {
  if (!describes_set(gold) && !describes_set(answer)) return Tri::kUnknown;
  const bool gold_relation = work_.is(gold, Kind::kRelation) || work_.is(gold, Kind::kList);
  const bool answer_relation = work_.is(answer, Kind::kRelation) || work_.is(answer, Kind::kList);
  if (gold_relation && answer_relation && !work_.is(gold, Kind::kList)) return Tri::kUnknown;
  if (!options_.inequality_for_interval && !gold_relation && answer_relation) return Tri::kUnknown;
  RealSet a, b;
  if (!read(gold, &a, 0) || !read(answer, &b, 0)) return Tri::kUnknown;
  return same_sets(std::move(a), std::move(b));
}

}  // namespace throughline::answer

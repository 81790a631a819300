// Sets of real numbers as unions of intervals: intervals, inequalities, memberships, set builders and finite sets that
// describe the same set are the same answer, whatever they are written as.
//
// Ends are placed on the line by their values in long double, and compared by Values. Holds references to its
// arguments; serves one comparison.
#pragma once

#include <vector>

#include "gym/answer/compare.h"
#include "gym/answer/values.h"
#include "gym/answer/workspace.h"

namespace throughline::answer {

class RealSets {
 public:
  RealSets(Workspace* work, Values* values, const CompareOptions& options)
      : work_(*work), values_(*values), options_(options) {}

  // kUnknown here means: not comparable as sets of reals.
  Tri compare(NodeId gold, NodeId answer);

 private:
  // One piece of a set. An end without a node is infinite.
  struct Piece {
    NodeId low = kNoNode, high = kNoNode;
    bool low_closed = false, high_closed = false;
    long double low_value = 0, high_value = 0;
  };
  struct RealSet {
    std::vector<Piece> pieces;
    NodeId subject = kNoNode;  // what is in the set ("x"), if it was said
  };

  bool describes_set(NodeId id) const;
  // False for all that follow: not a set whose ends can be placed on the line.
  bool read(NodeId id, RealSet* out, int depth);
  bool read_relation(const Node& relation, RealSet* out);
  bool read_chain(const Node& relation, RealSet* out);
  bool make_piece(NodeId low, bool low_closed, NodeId high, bool high_closed, Piece* piece);
  bool remove_points(RealSet* from, const RealSet& points);

  int infinite(NodeId id) const;
  static void tidy(RealSet* set);
  Tri same_end(NodeId a, NodeId b);
  Tri same_sets(RealSet gold, RealSet answer);

  Workspace& work_;
  Values& values_;
  const CompareOptions& options_;
};

// The operators of a relation, one character each (ast.h).
bool is_ordering(char op);
char flipped(char op);

}  // namespace throughline::answer

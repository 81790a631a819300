// Whether two expressions have the same value: canonical forms first, then numbers at deterministic pseudo-random
// points in double and long double. Also units, percent and decimals, by the policies of CompareOptions.
//
// Each canonical form is made once a comparison. Algebra gets three quarters of the steps that are left at the start,
// so that some remain for the numbers. Holds references to its arguments; not for several threads at once.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "gym/answer/algebra.h"
#include "gym/answer/compare.h"
#include "gym/answer/workspace.h"

namespace throughline::answer {

class Values {
 public:
  Values(Workspace* work, const CompareOptions& options)
      : work_(*work), options_(options), algebra_(work->tree(), work->steps()->left() / 4 * 3, work->steps()) {}

  // Stated units must agree, a gold percentage accepts the number before its sign; then same().
  Tri compare(NodeId gold, NodeId answer);
  Tri same(NodeId a, NodeId b);
  // Whether a/b is a constant. sign: 0 any factor, else the sign that the factor must have.
  Tri proportional(NodeId a, NodeId b, int sign);
  // The number that the expression is. False: it holds a variable, is not real or not finite.
  bool real_value(NodeId id, long double* value);
  // The canonical form as text, or the expression as it was read.
  std::string text(NodeId id);

 private:
  const Quotient* canonical(NodeId id);  // nullptr: none within the bounds
  Tri numeric(NodeId a, NodeId b);
  bool round_alike(NodeId a, NodeId b);

  Workspace& work_;
  const CompareOptions& options_;
  Algebra algebra_;
  std::unordered_map<NodeId, std::optional<Quotient>> forms_;
};

}  // namespace throughline::answer

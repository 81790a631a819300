// Decides whether two parsed answers are the same answer.
//
// Order of attempts: kind by kind (texts, lists and sets, tuples, intervals and inequalities, matrices, relations), and
// for expressions canonical forms, then, where those cannot tell, values at deterministic pseudo-random points in
// double and long double. kUnknown ("undecided") when neither settles it within the step budget.
// The policies on percent, units, lists and intervals are in docs/verifier.md.
#pragma once

#include <string>

#include "gym/answer/algebra.h"
#include "gym/answer/ast.h"

namespace throughline::answer {

struct CompareOptions {
  bool case_sensitive_text = true;      // "Evelyn" is not "evelyn"
  bool inequality_for_interval = true;  // a gold interval accepts the inequality that describes it
  bool units_must_agree = true;         // two stated units that differ make two answers
  bool percent_leniency = true;         // a gold percentage accepts the number before its sign
  bool expressions_only = false;        // nothing but values and matrices compares (algebra systems called by others)
  long double relative_tolerance = 0;   // constants so close are equal, if positive
  int decimal_places = 6;               // where one side is a decimal: both are rounded to so many places
};

struct Comparison {
  Tri equal = Tri::kDifferent;
  std::string normalized;  // canonical text of the prediction
};

Comparison compare_answers(Tree gold, Tree prediction, const CompareOptions& options, Steps* steps);

}  // namespace throughline::answer

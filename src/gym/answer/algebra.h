// Canonical forms: a quotient of two generalised polynomials with exact rational coefficients.
//
// Generators ("atoms") are variables, pi, e, i, primes with exponents in [0, 1) (surds), powers with a symbolic
// exponent or a compound base, and functions. Two expressions with the same form are equal for certain. A difference
// that is not zero proves inequality only when all its atoms are independent (variables, surds of primes, pi, e, i);
// otherwise the answer is kUnknown and the caller evaluates numerically.
// Bounded: at most kMaxTerms terms, kMaxAtoms atoms, and the step budget; beyond these the form fails, which is
// kUnknown again. One object serves one comparison; not for several threads at once.
#pragma once

#include <string>
#include <vector>

#include "gym/answer/ast.h"
#include "gym/answer/rational.h"

namespace throughline::answer {

enum class Tri : uint8_t { kDifferent, kEqual, kUnknown };

constexpr size_t kMaxTerms = 300;
constexpr size_t kMaxAtoms = 128;
constexpr size_t kMaxFormText = 1000;

struct AtomPower {
  int32_t atom;
  Rational exponent;
};

struct Term {
  Rational coefficient;
  std::vector<AtomPower> powers;  // by atom
};

struct Polynomial {
  std::vector<Term> terms;  // sorted, no zero coefficients
};

struct Quotient {
  Polynomial top, bottom;
};

class Algebra {
 public:
  // Uses at most `share` further steps, so that some are left for the numeric comparison.
  Algebra(const Tree& tree, int64_t share, Steps* steps)
      : tree_(tree), steps_(steps), ceiling_(steps->used() + share) {}

  // False when the expression has no canonical form within the bounds (or is no expression at all).
  bool canonical(NodeId id, Quotient* out);
  Tri equal(const Quotient& a, const Quotient& b);
  // Whether a/b is a constant other than zero: equations 2x+4y=6 and x+2y=3 say the same.
  bool proportional(const Quotient& a, const Quotient& b, int* sign);
  // The value if it is a rational number.
  bool rational(const Quotient& a, Rational* out) const;
  // Compact text; ends with "..." soon behind kMaxFormText bytes.
  std::string to_text(const Quotient& a) const;

 private:
  enum class AtomKind : uint8_t { kSymbol, kPi, kEuler, kImaginary, kPrime, kPower, kFunction };
  struct Atom {
    AtomKind kind;
    std::string name;             // symbol or function
    Rational prime;               // kPrime
    std::vector<Quotient> parts;  // kPower: base and exponent monomial; kFunction: arguments
    bool certain = true;          // independent of the other atoms
  };

  Quotient convert(NodeId id, int depth);
  Quotient convert_function(const Node& node, int depth);
  Quotient constant(const Rational& value) const;
  Quotient from_atom(int32_t atom) const;
  Quotient from_polynomial(Polynomial p) const;
  Quotient add(const Quotient& a, const Quotient& b);
  Quotient negate(Quotient a);
  Quotient multiply(const Quotient& a, const Quotient& b);
  Quotient invert(const Quotient& a);
  Quotient power(const Quotient& base, const Quotient& exponent);
  Quotient integer_power(const Quotient& base, int64_t exponent);
  Quotient rational_power(const Quotient& base, const Rational& exponent, bool real_root);
  Quotient symbolic_power(const Quotient& base, const Quotient& exponent);
  Quotient opaque_power(const Quotient& base, const Rational& exponent);
  Quotient positive_rational_power(const Rational& value, const Rational& exponent);
  Quotient logarithm(const Quotient& a);
  Quotient determinant(const Node& matrix, int depth);
  // Splits a positive integer into primes; what trial division leaves is one uncertain atom.
  std::vector<AtomPower> factor(Rational value);

  Polynomial add(const Polynomial& a, const Polynomial& b);
  Polynomial multiply(const Polynomial& a, const Polynomial& b);
  void multiply_terms(const Term& a, const Term& b, std::vector<Term>* out, int depth);
  void collect(std::vector<Term>* terms);
  bool is_one(const Polynomial& p) const;

  int32_t intern(Atom atom);
  bool same(const Quotient& a, const Quotient& b) const;
  static bool same(const Polynomial& a, const Polynomial& b);
  static int compare_powers(const Term& a, const Term& b);
  bool certain(const Polynomial& p) const;
  Quotient give_up() {
    failed_ = true;
    return Quotient{};
  }
  void write(const Polynomial& p, std::string* out) const;
  void write(const Term& term, bool first, std::string* out) const;
  void write(const Quotient& a, std::string* out) const;

  // Steps for a copy of it, or for another walk that touches every number.
  static int64_t weight(const Term& term);
  static int64_t weight(const Polynomial& p);
  static int64_t weight(const Quotient& a) { return weight(a.top) + weight(a.bottom); }
  bool over_budget() const { return steps_->exhausted() || steps_->used() > ceiling_; }
  bool charge(int64_t cost) {
    steps_->charge(cost);
    return !over_budget();
  }

  const Tree& tree_;
  Steps* steps_;
  int64_t ceiling_;
  std::vector<Atom> atoms_;
  bool failed_ = false;
};

}  // namespace throughline::answer

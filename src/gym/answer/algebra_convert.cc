// Algebra's second half: from syntax trees to canonical forms, and the questions asked of them.
#include <algorithm>
#include <numeric>

#include "gym/answer/algebra.h"

namespace throughline::answer {

constexpr int kMaxConvertDepth = 1000;    // the parser's depth limit keeps trees well below
constexpr int64_t kNodeFormCost = 4;      // a quotient allocates two polynomials
constexpr int64_t kAtomsPerStep = 8;      // looked at
constexpr int64_t kFactorialCost = 2;     // for each word of the result
constexpr int64_t kBinomialFactors = 16;  // of the product that a binomial is, a step

// --- from the tree --------------------------------------------------------------------------------------------------

Quotient Algebra::logarithm(const Quotient& a) {
  if (failed_ || a.top.terms.empty()) return give_up();
  Rational value;
  if (rational(a, &value) && value.sign() > 0) {  // ln 8 = 3 ln 2
    Quotient sum = constant(Rational(0));
    for (const bool below : {false, true}) {
      for (const AtomPower& p : factor(below ? value.denominator() : value.numerator())) {
        if (failed_) return {};
        Atom atom;
        atom.kind = AtomKind::kFunction;
        atom.name = "ln";
        atom.certain = false;
        atom.parts = {from_atom(p.atom)};
        const Quotient ln = from_atom(intern(std::move(atom)));
        sum = add(sum, multiply(constant(below ? -p.exponent : p.exponent), ln));
      }
    }
    return sum;
  }
  if (a.top.terms.size() == 1 && is_one(a.bottom) && a.top.terms[0].coefficient.is_one() &&
      a.top.terms[0].powers.size() == 1 &&
      atoms_[static_cast<size_t>(a.top.terms[0].powers[0].atom)].kind == AtomKind::kEuler) {
    return constant(a.top.terms[0].powers[0].exponent);
  }
  Atom atom;
  atom.kind = AtomKind::kFunction;
  atom.name = "ln";
  atom.certain = false;
  atom.parts = {a};
  return from_atom(intern(std::move(atom)));
}

Quotient Algebra::convert_function(const Node& node, int depth) {
  std::vector<Quotient> arguments;
  for (const NodeId kid : node.kids) arguments.push_back(convert(kid, depth + 1));
  if (failed_ || arguments.empty()) return give_up();
  const std::string& name = node.name;
  const auto function = [&](std::string_view which, const Quotient& argument) {
    if (!charge(weight(argument))) return give_up();
    Atom atom;
    atom.kind = AtomKind::kFunction;
    atom.name = std::string(which);
    atom.certain = false;
    atom.parts = {argument};
    const int32_t id = intern(std::move(atom));
    return failed_ ? Quotient{} : from_atom(id);
  };
  const Quotient& x = arguments[0];
  Rational value;
  const bool exact = rational(x, &value);
  if (name == "exp") {
    Atom e;
    e.kind = AtomKind::kEuler;
    return power(from_atom(intern(std::move(e))), x);
  }
  if (name == "ln" || name == "log" || name == "lg") {
    Quotient result = logarithm(x);
    if (name == "lg") result = multiply(result, invert(logarithm(constant(Rational(10)))));
    if (arguments.size() == 2) result = multiply(result, invert(logarithm(arguments[1])));
    return arguments.size() > 2 ? give_up() : result;
  }
  if (name == "max" || name == "min" || name == "gcd" || name == "lcm") {
    Rational best;
    for (size_t i = 0; i < arguments.size(); ++i) {
      Rational r;
      if (!rational(arguments[i], &r)) return give_up();
      if (i == 0) {
        best = r;
      } else if (name == "max" || name == "min") {
        if ((best.compare(r) < 0) == (name == "max")) best = r;
      } else {
        int64_t a = 0, b = 0;
        if (!best.to_int64(&a) || !r.to_int64(&b) || a == 0 || b == 0) return give_up();
        const int64_t g = std::gcd(a, b);
        best = name == "gcd" ? Rational(g) : Rational(a / g) * Rational(b);
      }
    }
    return constant(best);
  }
  if (arguments.size() != 1) return give_up();
  if (name == "floor" || name == "ceil") {
    if (exact) return constant(name == "floor" ? value.floor() : -((-value).floor()));
    return function(name, x);
  }
  if (name == "tan") return multiply(function("sin", x), invert(function("cos", x)));
  if (name == "cot") return multiply(function("cos", x), invert(function("sin", x)));
  if (name == "sec") return invert(function("cos", x));
  if (name == "csc") return invert(function("sin", x));
  return function(name, x);
}

Quotient Algebra::determinant(const Node& matrix, int depth) {
  const size_t n = static_cast<size_t>(matrix.columns);
  if (n == 0 || n > 4 || matrix.kids.size() != n * n) return give_up();
  std::vector<Quotient> cells;
  for (const NodeId kid : matrix.kids) cells.push_back(convert(kid, depth + 1));
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  Quotient sum = constant(Rational(0));
  do {
    Quotient term = constant(Rational(1));
    int inversions = 0;
    for (size_t i = 0; i < n && !failed_; ++i) {
      term = multiply(term, cells[i * n + order[i]]);
      for (size_t j = i + 1; j < n; ++j) inversions += order[i] > order[j] ? 1 : 0;
    }
    if (failed_) return {};
    sum = add(sum, inversions % 2 == 0 ? term : negate(term));
  } while (std::next_permutation(order.begin(), order.end()));
  return sum;
}

Quotient Algebra::convert(NodeId id, int depth) {
  if (failed_ || id == kNoNode || depth > kMaxConvertDepth || !charge(kNodeFormCost)) return give_up();
  const Node& node = tree_[id];
  const auto simple = [&](AtomKind kind, std::string name = {}) {
    Atom atom;
    atom.kind = kind;
    atom.name = std::move(name);
    const int32_t atom_id = intern(std::move(atom));
    return failed_ ? Quotient{} : from_atom(atom_id);
  };
  switch (node.kind) {
    case Kind::kNumber:
      return constant(node.number);
    case Kind::kSymbol:
      return simple(AtomKind::kSymbol, node.name);
    case Kind::kPi:
      return simple(AtomKind::kPi);
    case Kind::kEuler:
      return simple(AtomKind::kEuler);
    case Kind::kImaginary:
      return simple(AtomKind::kImaginary);
    case Kind::kInfinity:
      return simple(AtomKind::kSymbol, "\\infty");
    case Kind::kSum: {
      Quotient sum = convert(node.kids[0], depth + 1);
      for (size_t i = 1; i < node.kids.size() && !failed_; ++i) sum = add(sum, convert(node.kids[i], depth + 1));
      return sum;
    }
    case Kind::kProduct: {
      Quotient product = convert(node.kids[0], depth + 1);
      for (size_t i = 1; i < node.kids.size() && !failed_; ++i) {
        product = multiply(product, convert(node.kids[i], depth + 1));
      }
      return product;
    }
    case Kind::kNegate:
      return negate(convert(node.kids[0], depth + 1));
    case Kind::kInverse:
      return invert(convert(node.kids[0], depth + 1));
    case Kind::kPower:
      return power(convert(node.kids[0], depth + 1), convert(node.kids[1], depth + 1));
    case Kind::kRoot: {
      Rational index;
      const Quotient inside = convert(node.kids[0], depth + 1);
      const Quotient index_form = convert(node.kids[1], depth + 1);
      if (failed_) return {};
      if (!rational(index_form, &index)) return symbolic_power(inside, invert(index_form));
      if (index.is_zero()) return give_up();
      return rational_power(inside, Rational(1) / index, true);
    }
    case Kind::kFunction:
      return convert_function(node, depth);
    case Kind::kFactorial:
    case Kind::kAbsolute: {
      const Quotient inside = convert(node.kids[0], depth + 1);
      Rational value;
      if (failed_) return {};
      if (rational(inside, &value)) {
        if (node.kind == Kind::kAbsolute) return constant(value.sign() < 0 ? -value : value);
        int64_t n = 0;
        const Rational factorial = value.to_int64(&n) ? Rational::factorial(n) : Rational::invalid();
        if (!factorial.valid() || !charge(kFactorialCost * factorial.cost())) return give_up();
        return constant(factorial);
      }
      Atom atom;
      atom.kind = AtomKind::kFunction;
      atom.name = node.kind == Kind::kAbsolute ? "abs" : "factorial";
      atom.certain = false;
      atom.parts = {inside};
      const int32_t atom_id = intern(std::move(atom));
      return failed_ ? Quotient{} : from_atom(atom_id);
    }
    case Kind::kBinomial: {
      Rational n, k;
      int64_t a = 0, b = 0;
      if (!rational(convert(node.kids[0], depth + 1), &n) || !rational(convert(node.kids[1], depth + 1), &k) ||
          !n.to_int64(&a) || !k.to_int64(&b)) {
        return give_up();
      }
      const Rational value = Rational::binomial(a, b);
      return value.valid() && charge(value.cost() + a / kBinomialFactors) ? constant(value) : give_up();
    }
    case Kind::kPercent:
      return multiply(convert(node.kids[0], depth + 1), constant(Rational(1, 100)));
    case Kind::kUnit:
      return convert(node.kids[0], depth + 1);
    case Kind::kDeterminant:
      return determinant(tree_[node.kids[0]], depth);
    case Kind::kOpaque: {
      Atom atom;
      atom.kind = AtomKind::kFunction;
      atom.name = "\\" + node.name;
      atom.certain = false;
      atom.parts = {convert(node.kids[0], depth + 1)};
      const int32_t atom_id = intern(std::move(atom));
      return failed_ ? Quotient{} : from_atom(atom_id);
    }
    default:
      return give_up();
  }
}

bool Algebra::canonical(NodeId id, Quotient* out) {
  failed_ = false;
  *out = convert(id, 0);
  const bool ok = !failed_ && !over_budget();
  failed_ = false;
  return ok;
}

// --- questions ------------------------------------------------------------------------------------------------------

int32_t Algebra::intern(Atom atom) {
  if (!charge(1 + static_cast<int64_t>(atoms_.size()) / kAtomsPerStep)) failed_ = true;
  if (failed_) return 0;
  for (size_t i = 0; i < atoms_.size(); ++i) {
    const Atom& other = atoms_[i];
    if (other.kind != atom.kind || other.name != atom.name || other.parts.size() != atom.parts.size()) continue;
    if (atom.kind == AtomKind::kPrime && other.prime != atom.prime) continue;
    bool equal_parts = true;
    for (size_t p = 0; p < atom.parts.size() && equal_parts; ++p) {
      if (!charge(1 + static_cast<int64_t>(atom.parts[p].top.terms.size()))) failed_ = true;
      equal_parts = same(other.parts[p], atom.parts[p]);
    }
    if (equal_parts) return static_cast<int32_t>(i);
  }
  if (atoms_.size() >= kMaxAtoms) failed_ = true;
  if (failed_) return 0;
  atoms_.push_back(std::move(atom));
  return static_cast<int32_t>(atoms_.size() - 1);
}

bool Algebra::certain(const Polynomial& p) const {
  for (const Term& t : p.terms) {
    for (const AtomPower& power : t.powers) {
      if (!atoms_[static_cast<size_t>(power.atom)].certain) return false;
    }
  }
  return true;
}

Tri Algebra::equal(const Quotient& a, const Quotient& b) {
  if (same(a, b)) return Tri::kEqual;
  failed_ = false;
  Polynomial difference;
  if (same(a.bottom, b.bottom)) {
    difference = add(a.top, negate(b).top);
  } else {
    difference = add(multiply(a.top, b.bottom), multiply(negate(b).top, a.bottom));
  }
  const bool ok = !failed_ && !over_budget();
  failed_ = false;
  if (!ok) return Tri::kUnknown;
  if (difference.terms.empty()) return Tri::kEqual;
  return certain(difference) ? Tri::kDifferent : Tri::kUnknown;
}

bool Algebra::proportional(const Quotient& a, const Quotient& b, int* sign) {
  if (a.top.terms.empty() || b.top.terms.empty()) return false;
  failed_ = false;
  const Quotient ratio = multiply(a, invert(b));
  bool ok = !failed_ && !over_budget();
  failed_ = false;
  if (!ok) return false;
  if (ratio.top.terms.size() != ratio.bottom.terms.size()) return false;
  const Rational factor = ratio.top.terms[0].coefficient / ratio.bottom.terms[0].coefficient;
  for (size_t i = 0; i < ratio.top.terms.size(); ++i) {
    if (compare_powers(ratio.top.terms[i], ratio.bottom.terms[i]) != 0 ||
        ratio.top.terms[i].coefficient != ratio.bottom.terms[i].coefficient * factor) {
      return false;
    }
  }
  *sign = factor.sign();
  return factor.valid() && !factor.is_zero();
}

bool Algebra::rational(const Quotient& a, Rational* out) const {
  if (failed_ || !is_one(a.bottom)) return false;
  if (a.top.terms.empty()) {
    *out = Rational(0);
    return true;
  }
  if (a.top.terms.size() != 1 || !a.top.terms[0].powers.empty()) return false;
  *out = a.top.terms[0].coefficient;
  return true;
}

// Appends, and stops soon behind the limit: atoms name each other, so a form written out may be exponentially long.
void Algebra::write(const Term& t, bool first_term, std::string* out) const {
  std::string number = t.coefficient.to_string();
  if (!t.powers.empty()) number = t.coefficient.is_one() ? "" : number == "-1" ? "-" : number + "*";
  if (!first_term && (number.empty() || number[0] != '-')) *out += "+";
  *out += number;
  bool first = true;
  for (const AtomPower& power : t.powers) {
    if (out->size() > kMaxFormText) return;
    if (!first) *out += "*";
    first = false;
    const Atom& atom = atoms_[static_cast<size_t>(power.atom)];
    if (atom.kind == AtomKind::kPi) {
      *out += "pi";
    } else if (atom.kind == AtomKind::kEuler) {
      *out += "e";
    } else if (atom.kind == AtomKind::kImaginary) {
      *out += "i";
    } else if (atom.kind == AtomKind::kPrime) {
      *out += atom.prime.to_string();
    } else {
      *out += atom.name;
    }
    if (!atom.parts.empty()) {
      *out += "(";
      for (size_t i = 0; i < atom.parts.size(); ++i) {
        if (i > 0) *out += "^";
        write(atom.parts[i], out);
      }
      *out += ")";
    }
    if (!power.exponent.is_one()) {
      const std::string e = power.exponent.to_string();
      *out += power.exponent.is_integer() && power.exponent.sign() > 0 ? "^" + e : "^(" + e + ")";
    }
  }
}

void Algebra::write(const Polynomial& p, std::string* out) const {
  if (p.terms.empty()) *out += "0";
  for (size_t i = 0; i < p.terms.size(); ++i) {
    if (out->size() > kMaxFormText) return;
    write(p.terms[i], i == 0, out);
  }
}

void Algebra::write(const Quotient& a, std::string* out) const {
  if (is_one(a.bottom)) return write(a.top, out);
  *out += "(";
  write(a.top, out);
  *out += ")/(";
  write(a.bottom, out);
  *out += ")";
}

std::string Algebra::to_text(const Quotient& a) const {
  std::string text;
  write(a, &text);
  if (text.size() > kMaxFormText) text += "...";
  return text;
}

}  // namespace throughline::answer

#include "gym/answer/algebra.h"

#include <algorithm>
#include <numeric>

namespace throughline::answer {

constexpr int64_t kTrialDivisors = 1000;
constexpr int64_t kDivisorsPerStep = 16;    // for each word of the number; every second one is tried
constexpr int64_t kRootCost = 4;            // of four exact roots, for each word
constexpr int64_t kComparisonsPerStep = 8;  // of exponents, in sorting
constexpr int64_t kTermCost = 4;            // a product of terms allocates its powers once or twice, and is stored
constexpr int64_t kWordsCopiedPerStep = 16;
constexpr int64_t kBoundExponent = 16;  // of compound bases that are multiplied out

// --- polynomials ----------------------------------------------------------------------------------------------------

int64_t Algebra::weight(const Term& term) {
  const auto copied = [](const Rational& number) { return 1 + number.cost() / kWordsCopiedPerStep; };
  int64_t sum = 1 + copied(term.coefficient);
  for (const AtomPower& p : term.powers) sum += copied(p.exponent);
  return sum;
}

int64_t Algebra::weight(const Polynomial& p) {
  int64_t sum = 1;
  for (const Term& t : p.terms) sum += weight(t);
  return sum;
}

int Algebra::compare_powers(const Term& a, const Term& b) {
  const size_t n = std::min(a.powers.size(), b.powers.size());
  for (size_t i = 0; i < n; ++i) {
    if (a.powers[i].atom != b.powers[i].atom) return a.powers[i].atom < b.powers[i].atom ? -1 : 1;
    const int c = a.powers[i].exponent.compare(b.powers[i].exponent);
    if (c != 0) return -c;
  }
  if (a.powers.size() == b.powers.size()) return 0;
  return a.powers.size() > b.powers.size() ? -1 : 1;
}

void Algebra::collect(std::vector<Term>* terms) {
  if (terms->size() > 1) {
    // Sorting compares each term log n times; sums of big coefficients cost their words.
    int64_t powers = 0, words = 0, rounds = 0;
    for (const Term& t : *terms) {
      powers += 1 + static_cast<int64_t>(t.powers.size());
      words += t.coefficient.cost() - 1;
    }
    for (size_t n = terms->size(); n > 1; n /= 2) ++rounds;
    if (!charge(powers * rounds / kComparisonsPerStep + words)) failed_ = true;
    if (failed_) return;
  }
  std::sort(terms->begin(), terms->end(), [](const Term& a, const Term& b) { return compare_powers(a, b) < 0; });
  size_t out = 0;
  for (size_t i = 0; i < terms->size();) {
    Term sum = std::move((*terms)[i]);
    size_t j = i + 1;
    for (; j < terms->size() && compare_powers(sum, (*terms)[j]) == 0; ++j) {
      sum.coefficient = sum.coefficient + (*terms)[j].coefficient;
    }
    if (!sum.coefficient.valid()) failed_ = true;
    i = j;
    if (!sum.coefficient.is_zero()) (*terms)[out++] = std::move(sum);
  }
  terms->resize(out);
  if (terms->size() > kMaxTerms) failed_ = true;
}

Polynomial Algebra::add(const Polynomial& a, const Polynomial& b) {
  if (!charge(weight(a) + weight(b))) failed_ = true;
  if (failed_) return {};
  Polynomial result = a;
  result.terms.insert(result.terms.end(), b.terms.begin(), b.terms.end());
  if (!a.terms.empty() && !b.terms.empty()) collect(&result.terms);
  return result;
}

void Algebra::multiply_terms(const Term& a, const Term& b, std::vector<Term>* out, int depth) {
  Term product;
  product.coefficient = a.coefficient * b.coefficient;
  product.powers.reserve(a.powers.size() + b.powers.size());
  int64_t words = a.coefficient.cost() + b.coefficient.cost();  // of the numbers that are multiplied or added
  std::vector<std::pair<int32_t, int64_t>> expand;              // compound bases raised to whole powers
  size_t i = 0, j = 0;
  while (i < a.powers.size() || j < b.powers.size()) {
    AtomPower p;
    if (j == b.powers.size() || (i < a.powers.size() && a.powers[i].atom < b.powers[j].atom)) {
      p = a.powers[i++];
    } else if (i == a.powers.size() || b.powers[j].atom < a.powers[i].atom) {
      p = b.powers[j++];
    } else {
      p = a.powers[i++];
      words += p.exponent.cost() + b.powers[j].exponent.cost();
      p.exponent = p.exponent + b.powers[j++].exponent;
    }
    if (!p.exponent.valid()) failed_ = true;
    if (failed_) return;
    if (p.exponent.is_zero()) continue;
    const Atom& atom = atoms_[static_cast<size_t>(p.atom)];
    if (atom.kind == AtomKind::kPrime) {
      const Rational whole = p.exponent.floor();
      int64_t n = 0;
      if (!whole.is_zero()) {
        if (!whole.to_int64(&n)) failed_ = true;
        product.coefficient = product.coefficient * atom.prime.pow(n);
        p.exponent = p.exponent - whole;
      }
    } else if (atom.kind == AtomKind::kImaginary && p.exponent.is_integer()) {
      int64_t n = 0;
      if (!p.exponent.to_int64(&n)) failed_ = true;
      n = ((n % 4) + 4) % 4;
      if (n >= 2) product.coefficient = -product.coefficient;
      p.exponent = Rational(n % 2);
    } else if (atom.kind == AtomKind::kPower && atom.parts.size() == 1) {
      const Rational whole = p.exponent.floor();
      int64_t n = 0;
      if (whole.sign() > 0) {
        if (!whole.to_int64(&n) || n > kBoundExponent || depth > 8) failed_ = true;
        if (failed_) return;
        expand.emplace_back(p.atom, n);
        p.exponent = p.exponent - whole;
      }
    }
    if (!p.exponent.is_zero()) product.powers.push_back(std::move(p));
  }
  if (!product.coefficient.valid()) failed_ = true;
  if (!charge(kTermCost + words + weight(product))) failed_ = true;
  if (failed_) return;
  if (expand.empty()) {
    out->push_back(std::move(product));
    return;
  }
  std::vector<Term> partial = {std::move(product)};
  for (const auto& [atom, n] : expand) {
    const Polynomial base = atoms_[static_cast<size_t>(atom)].parts[0].top;
    if (!charge(weight(base))) failed_ = true;
    for (int64_t k = 0; k < n && !failed_; ++k) {
      std::vector<Term> next;
      for (const Term& t : partial) {
        for (const Term& s : base.terms) {
          if (failed_ || next.size() > 4 * kMaxTerms) {
            failed_ = true;
            return;
          }
          multiply_terms(t, s, &next, depth + 1);
        }
      }
      collect(&next);
      partial = std::move(next);
    }
  }
  for (Term& t : partial) out->push_back(std::move(t));
}

Polynomial Algebra::multiply(const Polynomial& a, const Polynomial& b) {
  Polynomial result;
  if (a.terms.size() * b.terms.size() > 16 * kMaxTerms) failed_ = true;
  if (failed_) return {};
  result.terms.reserve(a.terms.size() * b.terms.size());
  for (const Term& s : a.terms) {
    for (const Term& t : b.terms) {
      if (failed_) return {};
      multiply_terms(s, t, &result.terms, 0);
    }
  }
  collect(&result.terms);
  return result;
}

bool Algebra::is_one(const Polynomial& p) const {
  return p.terms.size() == 1 && p.terms[0].powers.empty() && p.terms[0].coefficient.is_one();
}

bool Algebra::same(const Polynomial& a, const Polynomial& b) {
  if (a.terms.size() != b.terms.size()) return false;
  for (size_t i = 0; i < a.terms.size(); ++i) {
    if (a.terms[i].coefficient != b.terms[i].coefficient || compare_powers(a.terms[i], b.terms[i]) != 0) return false;
  }
  return true;
}

bool Algebra::same(const Quotient& a, const Quotient& b) const {
  return same(a.top, b.top) && same(a.bottom, b.bottom);
}

// --- quotients ------------------------------------------------------------------------------------------------------

Quotient Algebra::constant(const Rational& value) const {
  Quotient q;
  if (!value.is_zero()) q.top.terms.push_back({value, {}});
  q.bottom.terms.push_back({Rational(1), {}});
  return q;
}

Quotient Algebra::from_polynomial(Polynomial p) const {
  Quotient q;
  q.top = std::move(p);
  q.bottom.terms.push_back({Rational(1), {}});
  return q;
}

Quotient Algebra::from_atom(int32_t atom) const {
  Polynomial p;
  p.terms.push_back({Rational(1), {{atom, Rational(1)}}});
  return from_polynomial(std::move(p));
}

Quotient Algebra::negate(Quotient a) {
  if (!charge(weight(a.top))) failed_ = true;
  for (Term& t : a.top.terms) t.coefficient = -t.coefficient;
  return a;
}

Quotient Algebra::add(const Quotient& a, const Quotient& b) {
  if (!charge(weight(a.bottom))) failed_ = true;
  if (failed_) return {};
  Quotient q;
  if (same(a.bottom, b.bottom)) {
    q.top = add(a.top, b.top);
    q.bottom = a.bottom;
  } else {
    q.top = add(multiply(a.top, b.bottom), multiply(b.top, a.bottom));
    q.bottom = multiply(a.bottom, b.bottom);
  }
  if (q.top.terms.empty()) return constant(Rational(0));
  return q;
}

Quotient Algebra::multiply(const Quotient& a, const Quotient& b) {
  if (!charge(weight(is_one(a.bottom) ? b.bottom : a.bottom))) failed_ = true;
  if (failed_) return {};
  Quotient q;
  q.top = multiply(a.top, b.top);
  if (is_one(a.bottom)) {
    q.bottom = b.bottom;
  } else if (is_one(b.bottom)) {
    q.bottom = a.bottom;
  } else {
    q.bottom = multiply(a.bottom, b.bottom);
  }
  if (q.top.terms.empty()) return constant(Rational(0));
  return q;
}

Quotient Algebra::invert(const Quotient& a) {
  if (failed_ || a.top.terms.empty()) return give_up();  // division by zero has no value
  if (!charge(weight(a))) return give_up();
  if (a.top.terms.size() > 1) {
    Quotient q;
    q.top = a.bottom;
    q.bottom = a.top;
    // One form for each quotient: the bottom's leading coefficient is 1.
    const Rational lead = q.bottom.terms[0].coefficient;
    if (lead.is_one()) return q;
    const int64_t divisions = static_cast<int64_t>(q.top.terms.size() + q.bottom.terms.size());
    int64_t words = divisions * lead.cost();
    for (const Polynomial* p : {&q.top, &q.bottom}) {
      for (const Term& t : p->terms) words += t.coefficient.cost();
    }
    if (!charge(words)) return give_up();
    for (Term& t : q.bottom.terms) t.coefficient = t.coefficient / lead;
    for (Term& t : q.top.terms) t.coefficient = t.coefficient / lead;
    return q;
  }
  // One term: turn its exponents around. A compound base c^e (0 < e < 1) becomes c^(1-e) / c.
  const Term& term = a.top.terms[0];
  Term inverse;
  inverse.coefficient = Rational(1) / term.coefficient;
  Polynomial rest;
  rest.terms.push_back({Rational(1), {}});
  for (const AtomPower& p : term.powers) {
    const Atom& atom = atoms_[static_cast<size_t>(p.atom)];
    Rational exponent = -p.exponent;
    if (atom.kind == AtomKind::kPrime) {
      exponent = exponent + Rational(1);
      inverse.coefficient = inverse.coefficient / atom.prime;
    } else if (atom.kind == AtomKind::kImaginary && exponent == Rational(-1)) {
      exponent = Rational(1);
      inverse.coefficient = -inverse.coefficient;
    } else if (atom.kind == AtomKind::kPower && atom.parts.size() == 1) {
      exponent = exponent + Rational(1);
      rest = multiply(rest, Polynomial(atom.parts[0].top));
    }
    if (!exponent.is_zero()) inverse.powers.push_back({p.atom, exponent});
  }
  if (failed_ || !inverse.coefficient.valid()) return give_up();
  Polynomial top;
  top.terms.push_back(std::move(inverse));
  Quotient q = from_polynomial(multiply(top, a.bottom));
  if (is_one(rest)) return q;
  return multiply(q, invert(from_polynomial(std::move(rest))));
}

// --- powers ---------------------------------------------------------------------------------------------------------

std::vector<AtomPower> Algebra::factor(Rational value) {
  std::vector<AtomPower> powers;
  const auto add_prime = [&](const Rational& p, int64_t count, bool certain) {
    Atom atom;
    atom.kind = AtomKind::kPrime;
    atom.prime = p;
    atom.certain = certain;
    const int32_t id = intern(std::move(atom));
    powers.push_back({id, Rational(count)});
  };
  for (int64_t d = 2; d < kTrialDivisors && !value.is_one() && !failed_; d += d == 2 ? 1 : 2) {
    int64_t small = 0;
    if (value.to_int64(&small) && d * d > small) break;
    if (d % kDivisorsPerStep < 2 && !charge(value.cost())) failed_ = true;
    if (const int n = value.remove_factor(d)) {
      if (!charge(value.cost())) failed_ = true;
      add_prime(Rational(d), n, true);
    }
  }
  if (!value.is_one() && !failed_) {
    if (!charge(kRootCost * value.cost())) failed_ = true;
    for (int n = 2; n <= 5; ++n) {
      const Rational root = value.exact_root(n);
      if (root.valid()) {
        add_prime(root, n, root.compare(Rational(kTrialDivisors * kTrialDivisors)) < 0);
        return powers;
      }
    }
    add_prime(value, 1, value.compare(Rational(kTrialDivisors * kTrialDivisors)) < 0);
  }
  return powers;
}

Quotient Algebra::positive_rational_power(const Rational& value, const Rational& exponent) {
  Quotient result = constant(Rational(1));
  for (const bool below : {false, true}) {
    for (const AtomPower& p : factor(below ? value.denominator() : value.numerator())) {
      if (failed_) return {};
      Polynomial poly;
      const Rational e = p.exponent * exponent;
      poly.terms.push_back({Rational(1), {{p.atom, below ? -e : e}}});
      Polynomial one;
      one.terms.push_back({Rational(1), {}});
      result = multiply(result, from_polynomial(multiply(poly, one)));  // multiply() reduces the exponent
    }
  }
  return result;
}

Quotient Algebra::integer_power(const Quotient& base, int64_t exponent) {
  if (exponent < 0) return integer_power(invert(base), -exponent);
  if (failed_) return {};
  if (exponent == 0) return base.top.terms.empty() ? give_up() : constant(Rational(1));
  if (base.top.terms.empty()) return constant(Rational(0));
  if (base.top.terms.size() == 1 && is_one(base.bottom)) {
    const Term& t = base.top.terms[0];
    Term result;
    if (!charge(weight(t))) return give_up();
    result.coefficient = t.coefficient.pow(exponent);
    for (const AtomPower& p : t.powers) result.powers.push_back({p.atom, p.exponent * Rational(exponent)});
    if (!result.coefficient.valid() || !charge(result.coefficient.cost())) return give_up();
    Polynomial poly, one;
    poly.terms.push_back(std::move(result));
    one.terms.push_back({Rational(1), {}});
    return from_polynomial(multiply(poly, one));
  }
  if (exponent > 64) return opaque_power(base, Rational(exponent));
  Quotient result = constant(Rational(1)), square = base;
  for (int64_t e = exponent; e > 0 && !failed_; e >>= 1) {
    if (e & 1) result = multiply(result, square);
    if (e > 1) square = multiply(square, square);
  }
  return result;
}

// base^exponent as an atom of its own.
Quotient Algebra::opaque_power(const Quotient& base, const Rational& exponent) {
  if (!charge(weight(base))) return give_up();
  Atom atom;
  atom.kind = AtomKind::kPower;
  atom.certain = false;
  atom.parts.push_back(base);
  // Only polynomial bases can be multiplied out again: mark the others with a second part.
  if (!is_one(base.bottom) || base.top.terms.empty()) atom.parts.push_back(constant(Rational(1)));
  const int32_t id = intern(std::move(atom));
  if (failed_) return {};
  Polynomial poly, one;
  if (exponent.sign() < 0 && is_one(base.bottom)) {
    const Rational whole = exponent.floor();
    int64_t n = 0;
    if (!whole.to_int64(&n)) return give_up();
    poly.terms.push_back({Rational(1), {{id, exponent - whole}}});
    if ((exponent - whole).is_zero()) poly.terms[0].powers.clear();
    return multiply(from_polynomial(std::move(poly)), integer_power(base, n));
  }
  poly.terms.push_back({Rational(1), {{id, exponent}}});
  one.terms.push_back({Rational(1), {}});
  return from_polynomial(exponent.is_integer() ? poly : multiply(poly, one));
}

Quotient Algebra::rational_power(const Quotient& base, const Rational& exponent, bool real_root) {
  if (failed_) return {};
  int64_t n = 0;
  if (exponent.is_integer()) return exponent.to_int64(&n) ? integer_power(base, n) : give_up();
  if (base.top.terms.empty()) return exponent.sign() > 0 ? constant(Rational(0)) : give_up();
  if (!is_one(base.bottom)) return opaque_power(base, exponent);
  if (base.top.terms.size() > 1) {
    // Pull out the positive rational content: sqrt(8 + 4 sqrt 3) = 2 sqrt(2 + sqrt 3).
    if (!charge(2 * weight(base))) return give_up();
    int64_t gcd_top = 0, lcm_bottom = 1;
    bool small = true;
    for (const Term& t : base.top.terms) {
      int64_t a = 0, b = 0;
      if (!t.coefficient.numerator().to_int64(&a) || !t.coefficient.denominator().to_int64(&b) || b > 1000000) {
        small = false;
        break;
      }
      gcd_top = std::gcd(gcd_top, a);
      lcm_bottom = lcm_bottom / std::gcd(lcm_bottom, b) * b;
      if (lcm_bottom > 1000000) small = false;
      if (!small) break;
    }
    if (small && gcd_top > 0 && (gcd_top != 1 || lcm_bottom != 1)) {
      const Rational content(gcd_top, lcm_bottom);
      Quotient primitive = base;
      for (Term& t : primitive.top.terms) t.coefficient = t.coefficient / content;
      return multiply(positive_rational_power(content, exponent), opaque_power(primitive, exponent));
    }
    return opaque_power(base, exponent);
  }
  // One term: positive constants leave the root, the rest stays inside.
  const Term& term = base.top.terms[0];
  Rational inside_coefficient(1);
  Quotient outside = constant(Rational(1));
  Rational magnitude = term.coefficient;
  if (magnitude.sign() < 0) {
    magnitude = -magnitude;
    int64_t numerator = 0, denominator = 0;
    if (!exponent.numerator().to_int64(&numerator) || !exponent.denominator().to_int64(&denominator)) return give_up();
    if (denominator == 2) {
      Atom i;
      i.kind = AtomKind::kImaginary;
      outside = integer_power(from_atom(intern(std::move(i))), numerator);
    } else if (denominator % 2 == 1 && real_root && term.powers.empty()) {
      if (numerator % 2 != 0) outside = constant(Rational(-1));
    } else {
      inside_coefficient = Rational(-1);
    }
  }
  outside = multiply(outside, positive_rational_power(magnitude, exponent));
  Term inside;
  inside.coefficient = inside_coefficient;
  for (const AtomPower& p : term.powers) {
    const AtomKind kind = atoms_[static_cast<size_t>(p.atom)].kind;
    if (kind == AtomKind::kPrime || kind == AtomKind::kPi || kind == AtomKind::kEuler) {
      Polynomial poly, one;
      poly.terms.push_back({Rational(1), {{p.atom, p.exponent * exponent}}});
      one.terms.push_back({Rational(1), {}});
      outside = multiply(outside, from_polynomial(multiply(poly, one)));
    } else {
      inside.powers.push_back(p);
    }
  }
  if (failed_) return {};
  if (inside.powers.empty() && inside.coefficient.is_one()) return outside;
  if (inside.coefficient.is_one() && inside.powers.size() == 1 && inside.powers[0].exponent.is_one() &&
      atoms_[static_cast<size_t>(inside.powers[0].atom)].kind == AtomKind::kSymbol) {
    inside.powers[0].exponent = exponent;
    Polynomial poly;
    poly.terms.push_back(std::move(inside));
    return multiply(outside, from_polynomial(std::move(poly)));
  }
  Polynomial poly;
  poly.terms.push_back(std::move(inside));
  return multiply(outside, opaque_power(from_polynomial(std::move(poly)), exponent));
}

// b^(t1 + t2 + ...) = b^t1 b^t2 ...; each b^(c m) is the c-th power of an atom (b, m).
Quotient Algebra::symbolic_power(const Quotient& base, const Quotient& exponent) {
  if (failed_ || base.top.terms.empty() || !charge(weight(base) + weight(exponent))) return give_up();
  if (!is_one(exponent.bottom)) {
    Atom atom;
    atom.kind = AtomKind::kPower;
    atom.certain = false;
    atom.parts = {base, exponent};
    return from_atom(intern(std::move(atom)));
  }
  Rational base_value;
  const bool numeric = rational(base, &base_value) && base_value.sign() > 0;
  Quotient result = constant(Rational(1));
  for (const Term& t : exponent.top.terms) {
    if (t.powers.empty()) {
      result = multiply(result, rational_power(base, t.coefficient, false));
      continue;
    }
    Polynomial monomial;
    monomial.terms.push_back({Rational(1), t.powers});
    const Quotient m = from_polynomial(monomial);
    const bool euler = base.top.terms.size() == 1 && is_one(base.bottom) && base.top.terms[0].powers.size() == 1 &&
                       base.top.terms[0].coefficient.is_one() && base.top.terms[0].powers[0].exponent.is_one() &&
                       atoms_[static_cast<size_t>(base.top.terms[0].powers[0].atom)].kind == AtomKind::kEuler;
    if (euler && t.powers.size() == 2) {  // e^(i pi c) for c a multiple of 1/2
      int kinds = 0;
      for (const AtomPower& p : t.powers) {
        const AtomKind kind = atoms_[static_cast<size_t>(p.atom)].kind;
        if (p.exponent.is_one() && kind == AtomKind::kPi) kinds |= 1;
        if (p.exponent.is_one() && kind == AtomKind::kImaginary) kinds |= 2;
      }
      int64_t halves = 0;
      if (kinds == 3 && (t.coefficient * Rational(2)).to_int64(&halves)) {
        Atom i;
        i.kind = AtomKind::kImaginary;
        result = multiply(result, integer_power(from_atom(intern(std::move(i))), ((halves % 4) + 4) % 4));
        continue;
      }
    }
    std::vector<std::pair<Quotient, Rational>> bases;
    if (numeric) {
      for (const bool below : {false, true}) {
        for (const AtomPower& p : factor(below ? base_value.denominator() : base_value.numerator())) {
          if (failed_) return {};
          bases.emplace_back(from_atom(p.atom), below ? -p.exponent : p.exponent);
        }
      }
    } else {
      bases.emplace_back(base, Rational(1));
    }
    for (const auto& [b, count] : bases) {
      if (!charge(weight(b) + weight(m))) return give_up();
      Atom atom;
      atom.kind = AtomKind::kPower;
      atom.certain = false;
      atom.parts = {b, m};
      const int32_t id = intern(std::move(atom));
      if (failed_) return {};
      Polynomial poly;
      poly.terms.push_back({Rational(1), {{id, t.coefficient * count}}});
      result = multiply(result, from_polynomial(std::move(poly)));
    }
  }
  return result;
}

Quotient Algebra::power(const Quotient& base, const Quotient& exponent) {
  if (failed_) return {};
  Rational value;
  if (rational(exponent, &value)) return rational_power(base, value, true);
  return symbolic_power(base, exponent);
}

}  // namespace throughline::answer

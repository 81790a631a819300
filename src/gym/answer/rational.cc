#include "gym/answer/rational.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace throughline::answer {
namespace {

using Wide = __int128;

// INT64_MIN is kept out of the inline form, so that negation never overflows.
bool fits(Wide x) { return x <= std::numeric_limits<int64_t>::max() && x > std::numeric_limits<int64_t>::min(); }

Wide gcd_wide(Wide a, Wide b) {
  if (a < 0) a = -a;
  if (b < 0) b = -b;
  while (b != 0) {
    const Wide r = a % b;
    a = b;
    b = r;
  }
  return a;
}

void set_int64(mpz_ptr z, int64_t value) { mpz_set_si(z, value); }

int64_t bits_of(mpq_srcptr q) {
  return static_cast<int64_t>(mpz_sizeinbase(mpq_numref(q), 2) + mpz_sizeinbase(mpq_denref(q), 2));
}

long double mpz_to_long_double(mpz_srcptr z, long* exponent) {
  // 64 leading bits exactly, the rest as a power of two.
  const size_t bits = mpz_sgn(z) == 0 ? 0 : mpz_sizeinbase(z, 2);
  *exponent = bits > 64 ? static_cast<long>(bits - 64) : 0;
  mpz_t top;
  mpz_init(top);
  mpz_tdiv_q_2exp(top, z, *exponent);
  uint64_t word = 0;
  mpz_export(&word, nullptr, -1, sizeof(word), 0, 0, top);
  mpz_clear(top);
  const long double magnitude = static_cast<long double>(word);
  return mpz_sgn(z) < 0 ? -magnitude : magnitude;
}

}  // namespace

bool Rational::from_wide(Wide numerator, Wide denominator, Rational* out) {
  if (denominator != 1) {
    const Wide g = gcd_wide(numerator, denominator);
    numerator /= g;
    denominator /= g;
  }
  if (!fits(numerator) || !fits(denominator)) return false;
  out->numerator_ = static_cast<int64_t>(numerator);
  out->denominator_ = static_cast<int64_t>(denominator);
  return true;
}

Rational::Rational(int64_t numerator, int64_t denominator) : denominator_(0) {
  if (denominator == 0) return;
  const Wide n = numerator, d = denominator;
  from_wide(d < 0 ? -n : n, d < 0 ? -d : d, this);
}

Rational::Rational(const Rational& other) : numerator_(other.numerator_), denominator_(other.denominator_) {
  if (other.big_) big_ = std::make_unique<BigRational>(*other.big_);
}

Rational& Rational::operator=(const Rational& other) {
  if (this != &other) {
    numerator_ = other.numerator_;
    denominator_ = other.denominator_;
    big_ = other.big_ ? std::make_unique<BigRational>(*other.big_) : nullptr;
  }
  return *this;
}

Rational Rational::invalid() {
  Rational r;
  r.denominator_ = 0;
  return r;
}

Rational Rational::from_big(std::unique_ptr<BigRational> value) {
  mpq_ptr q = value->get();
  if (bits_of(q) > kMaxBits) return invalid();
  Rational r;
  if (mpz_fits_slong_p(mpq_numref(q)) && mpz_fits_slong_p(mpq_denref(q)) &&
      mpz_get_si(mpq_numref(q)) != std::numeric_limits<int64_t>::min()) {
    r.numerator_ = mpz_get_si(mpq_numref(q));
    r.denominator_ = mpz_get_si(mpq_denref(q));
    return r;
  }
  r.big_ = std::move(value);
  return r;
}

std::unique_ptr<BigRational> Rational::widen() const {
  if (big_) return std::make_unique<BigRational>(*big_);
  auto wide = std::make_unique<BigRational>();
  as_big(wide.get());
  return wide;
}

mpq_srcptr Rational::as_big(BigRational* scratch) const {
  if (big_) return big_->get();
  set_int64(mpq_numref(scratch->get()), numerator_);
  set_int64(mpq_denref(scratch->get()), denominator_);
  return scratch->get();
}

Rational Rational::from_decimal(std::string_view text) {
  std::string digits;
  int64_t places = 0;
  bool point = false;
  for (const char c : text) {
    if (c == '.') {
      if (point) return invalid();
      point = true;
    } else if (c >= '0' && c <= '9') {
      digits.push_back(c);
      if (point) ++places;
    } else {
      return invalid();
    }
  }
  if (digits.empty() || digits.size() * 4 > static_cast<size_t>(kMaxBits)) return invalid();
  if (digits.size() <= 18) {
    int64_t n = 0, d = 1;
    for (const char c : digits) n = n * 10 + (c - '0');
    for (int64_t i = 0; i < places; ++i) d *= 10;
    return Rational(n, d);
  }
  auto big = std::make_unique<BigRational>();
  mpz_set_str(mpq_numref(big->get()), digits.c_str(), 10);
  mpz_ui_pow_ui(mpq_denref(big->get()), 10, static_cast<unsigned long>(places));
  mpq_canonicalize(big->get());
  return from_big(std::move(big));
}

Rational Rational::factorial(int64_t n) {
  if (n < 0 || n > 3000) return invalid();  // 3000! has 30,334 bits
  auto big = std::make_unique<BigRational>();
  mpz_fac_ui(mpq_numref(big->get()), static_cast<unsigned long>(n));
  return from_big(std::move(big));
}

Rational Rational::binomial(int64_t n, int64_t k) {
  if (n < 0 || k < 0 || n > 3000) return invalid();
  if (k > n) return Rational(0);
  auto big = std::make_unique<BigRational>();
  mpz_bin_uiui(mpq_numref(big->get()), static_cast<unsigned long>(n), static_cast<unsigned long>(k));
  return from_big(std::move(big));
}

bool Rational::is_integer() const {
  if (!valid()) return false;
  if (!big_) return denominator_ == 1;
  return mpz_cmp_ui(mpq_denref(big_->get()), 1) == 0;
}

int Rational::sign() const {
  if (big_) return mpq_sgn(big_->get());
  return numerator_ > 0 ? 1 : numerator_ < 0 ? -1 : 0;
}

bool Rational::to_int64(int64_t* out) const {
  if (!valid() || big_ || denominator_ != 1) return false;
  *out = numerator_;
  return true;
}

Rational Rational::operator+(const Rational& other) const {
  if (!valid() || !other.valid()) return invalid();
  if (!big_ && !other.big_) {
    if (denominator_ == 1 && other.denominator_ == 1) {
      const Wide sum = static_cast<Wide>(numerator_) + other.numerator_;
      if (fits(sum)) return Rational(static_cast<int64_t>(sum));
    }
    // Both products fit 127 bits, their sum may not: reduce through GMP when near the edge.
    const Wide a = static_cast<Wide>(numerator_) * other.denominator_;
    const Wide b = static_cast<Wide>(other.numerator_) * denominator_;
    Wide n = 0;
    Rational r;
    if (!__builtin_add_overflow(a, b, &n) && from_wide(n, static_cast<Wide>(denominator_) * other.denominator_, &r)) {
      return r;
    }
  }
  BigRational a, b;
  auto sum = std::make_unique<BigRational>();
  mpq_add(sum->get(), as_big(&a), other.as_big(&b));
  return from_big(std::move(sum));
}

Rational Rational::operator-() const {
  Rational r = *this;
  if (r.big_) {
    mpq_neg(r.big_->get(), r.big_->get());
  } else {
    r.numerator_ = -r.numerator_;
  }
  return r;
}

Rational Rational::operator-(const Rational& other) const { return *this + (-other); }

Rational Rational::operator*(const Rational& other) const {
  if (!valid() || !other.valid()) return invalid();
  Rational r;
  if (!big_ && !other.big_ &&
      from_wide(static_cast<Wide>(numerator_) * other.numerator_, static_cast<Wide>(denominator_) * other.denominator_,
                &r)) {
    return r;
  }
  BigRational a, b;
  auto product = std::make_unique<BigRational>();
  mpq_mul(product->get(), as_big(&a), other.as_big(&b));  // at most 2 kMaxBits: each factor is within the bound
  return from_big(std::move(product));
}

Rational Rational::operator/(const Rational& other) const {
  if (!valid() || !other.valid() || other.is_zero()) return invalid();
  auto inverse = Rational();
  if (!other.big_) {
    inverse.numerator_ = other.numerator_ < 0 ? -other.denominator_ : other.denominator_;
    inverse.denominator_ = other.numerator_ < 0 ? -other.numerator_ : other.numerator_;
  } else {
    auto big = std::make_unique<BigRational>(*other.big_);
    mpq_inv(big->get(), big->get());
    inverse = from_big(std::move(big));
  }
  return *this * inverse;
}

bool Rational::operator==(const Rational& other) const {
  if (!valid() || !other.valid()) return false;
  if (static_cast<bool>(big_) != static_cast<bool>(other.big_)) return false;
  if (big_) return mpq_equal(big_->get(), other.big_->get()) != 0;
  return numerator_ == other.numerator_ && denominator_ == other.denominator_;
}

int Rational::compare(const Rational& other) const {
  if (!big_ && !other.big_) {
    const Wide a = static_cast<Wide>(numerator_) * other.denominator_;
    const Wide b = static_cast<Wide>(other.numerator_) * denominator_;
    return a < b ? -1 : a > b ? 1 : 0;
  }
  BigRational a, b;
  const int c = mpq_cmp(as_big(&a), other.as_big(&b));
  return c < 0 ? -1 : c > 0 ? 1 : 0;
}

Rational Rational::pow(int64_t exponent) const {
  if (!valid()) return invalid();
  if (exponent == 0) return Rational(1);
  if (is_zero()) return exponent > 0 ? Rational(0) : invalid();
  if (is_one()) return Rational(1);
  if (!big_ && numerator_ == -1 && denominator_ == 1) return Rational(exponent % 2 == 0 ? 1 : -1);
  if (exponent == std::numeric_limits<int64_t>::min()) return invalid();
  if (exponent < 0) return Rational(1) / pow(-exponent);
  auto base = widen();
  // |base| is at least 2 or a proper fraction: the result has about bits * exponent bits.
  const int64_t bits = static_cast<int64_t>(std::max(mpz_sizeinbase(mpq_numref(base->get()), 2),
                                                     mpz_sizeinbase(mpq_denref(base->get()), 2))) -
                       1;
  if (exponent > kMaxBits || bits * exponent > kMaxBits) return invalid();
  auto result = std::make_unique<BigRational>();
  mpz_pow_ui(mpq_numref(result->get()), mpq_numref(base->get()), static_cast<unsigned long>(exponent));
  mpz_pow_ui(mpq_denref(result->get()), mpq_denref(base->get()), static_cast<unsigned long>(exponent));
  return from_big(std::move(result));
}

Rational Rational::floor() const {
  if (!valid() || is_integer()) return *this;
  if (!big_) {
    int64_t q = numerator_ / denominator_;
    if (numerator_ < 0) --q;
    return Rational(q);
  }
  auto result = std::make_unique<BigRational>();
  mpz_fdiv_q(mpq_numref(result->get()), mpq_numref(big_->get()), mpq_denref(big_->get()));
  return from_big(std::move(result));
}

Rational Rational::numerator() const {
  if (!big_) return valid() ? Rational(numerator_) : invalid();
  auto result = std::make_unique<BigRational>();
  mpz_set(mpq_numref(result->get()), mpq_numref(big_->get()));
  return from_big(std::move(result));
}

Rational Rational::denominator() const {
  if (!big_) return valid() ? Rational(denominator_) : invalid();
  auto result = std::make_unique<BigRational>();
  mpz_set(mpq_numref(result->get()), mpq_denref(big_->get()));
  return from_big(std::move(result));
}

Rational Rational::round_to(int places) const {
  const Rational scale = Rational(10).pow(places);
  const Rational scaled = (sign() < 0 ? -*this : *this) * scale + Rational(1, 2);
  const Rational rounded = scaled.floor() / scale;
  return sign() < 0 ? -rounded : rounded;
}

Rational Rational::exact_root(int n) const {
  if (!is_integer() || sign() < 0 || n < 2) return invalid();
  BigRational scratch;
  auto result = std::make_unique<BigRational>();
  if (mpz_root(mpq_numref(result->get()), mpq_numref(as_big(&scratch)), static_cast<unsigned long>(n)) == 0) {
    return invalid();
  }
  return from_big(std::move(result));
}

int Rational::remove_factor(int64_t divisor) {
  int count = 0;
  if (!big_) {
    while (numerator_ != 0 && numerator_ % divisor == 0) numerator_ /= divisor, ++count;
    return count;
  }
  if (mpz_divisible_ui_p(mpq_numref(big_->get()), static_cast<unsigned long>(divisor)) == 0) return 0;
  mpz_t d;
  mpz_init_set_si(d, divisor);
  auto value = widen();
  count = static_cast<int>(mpz_remove(mpq_numref(value->get()), mpq_numref(value->get()), d));
  mpz_clear(d);
  *this = from_big(std::move(value));
  return count;
}

long double Rational::to_long_double() const {
  if (!valid()) return std::numeric_limits<long double>::quiet_NaN();
  if (!big_) return static_cast<long double>(numerator_) / static_cast<long double>(denominator_);
  long en = 0, ed = 0;
  const long double n = mpz_to_long_double(mpq_numref(big_->get()), &en);
  const long double d = mpz_to_long_double(mpq_denref(big_->get()), &ed);
  return std::ldexp(n / d, static_cast<int>(en - ed));
}

std::string Rational::to_string() const {
  if (!valid()) return "invalid";
  if (!big_) {
    std::string text = std::to_string(numerator_);
    if (denominator_ != 1) text += "/" + std::to_string(denominator_);
    return text;
  }
  std::vector<char> buffer(mpz_sizeinbase(mpq_numref(big_->get()), 10) + mpz_sizeinbase(mpq_denref(big_->get()), 10) +
                           3);
  mpq_get_str(buffer.data(), 10, big_->get());
  return buffer.data();
}

int64_t Rational::cost() const { return big_ ? 1 + bits_of(big_->get()) / 64 : 1; }

}  // namespace throughline::answer

// Exact rational numbers of bounded size: the arithmetic under the answer verifier.
//
// Small values (64-bit numerator and denominator) stay inline; larger ones go to GMP. Every operation that
// would exceed kMaxBits, or that divides by zero, yields an *invalid* number, which poisons what it touches:
// callers test valid() once at the end. No exceptions, no globals; values are independent, so any thread may
// hold its own. `cost()` is a count of machine words, by which the step budget charges an operation on the number.
#pragma once

#include <gmp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace throughline::answer {

// 2006! has 19,134 bits; bound above that, so that such factorials still compare exactly.
constexpr int64_t kMaxBits = 32768;

// RAII over GMP's mpq_t, always canonical (lowest terms, positive denominator).
class BigRational {
 public:
  BigRational() { mpq_init(value_); }
  BigRational(const BigRational& other) {
    mpq_init(value_);
    mpq_set(value_, other.value_);
  }
  BigRational& operator=(const BigRational& other) {
    if (this != &other) mpq_set(value_, other.value_);
    return *this;
  }
  ~BigRational() { mpq_clear(value_); }
  mpq_ptr get() { return value_; }
  mpq_srcptr get() const { return value_; }

 private:
  mpq_t value_;
};

class Rational {
 public:
  Rational() = default;
  Rational(int64_t integer) : numerator_(integer) {}  // NOLINT: implicit on purpose
  Rational(int64_t numerator, int64_t denominator);
  Rational(const Rational& other);
  Rational(Rational&& other) noexcept = default;
  Rational& operator=(const Rational& other);
  Rational& operator=(Rational&& other) noexcept = default;

  static Rational invalid();
  // Decimal digits with at most one point ("12", "0.5", ".25"); invalid on anything else or when too long.
  static Rational from_decimal(std::string_view text);
  static Rational factorial(int64_t n);
  static Rational binomial(int64_t n, int64_t k);

  bool valid() const { return denominator_ != 0; }
  bool is_zero() const { return !big_ && denominator_ != 0 && numerator_ == 0; }
  bool is_one() const { return !big_ && numerator_ == 1 && denominator_ == 1; }
  bool is_integer() const;
  int sign() const;
  // The value as int64 if it is an integer that fits.
  bool to_int64(int64_t* out) const;

  Rational operator+(const Rational& other) const;
  Rational operator-(const Rational& other) const;
  Rational operator*(const Rational& other) const;
  Rational operator/(const Rational& other) const;
  Rational operator-() const;
  bool operator==(const Rational& other) const;
  bool operator!=(const Rational& other) const { return !(*this == other); }
  // Total order of valid numbers; used for canonical sorting and for interval ends.
  int compare(const Rational& other) const;
  Rational pow(int64_t exponent) const;
  Rational floor() const;
  Rational numerator() const;
  Rational denominator() const;
  // Rounds half away from zero to `places` decimals.
  Rational round_to(int places) const;
  // Exact n-th root of a non-negative integer, or invalid when there is none.
  Rational exact_root(int n) const;
  // Divides out `divisor` (at least 2) while it divides the (positive integer) value; returns how often.
  int remove_factor(int64_t divisor);

  // numerator/denominator to 64 bits of mantissa.
  long double to_long_double() const;
  std::string to_string() const;
  int64_t cost() const;

 private:
  static Rational from_big(std::unique_ptr<BigRational> value);
  // numerator/denominator in lowest terms, if both fit 64 bits. Requires denominator > 0.
  static bool from_wide(__int128 numerator, __int128 denominator, Rational* out);
  std::unique_ptr<BigRational> widen() const;
  // GMP's form of the value: its own, or that of `scratch`, which is set to it.
  mpq_srcptr as_big(BigRational* scratch) const;

  int64_t numerator_ = 0;
  int64_t denominator_ = 1;  // > 0; 0 marks invalid; unused while big_
  std::unique_ptr<BigRational> big_;
};

}  // namespace throughline::answer

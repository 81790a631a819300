#include "gym/answer/numeric.h"

#include <cmath>
#include <limits>
#include <numbers>

namespace throughline::answer {
namespace {

int64_t evaluation_cost(const Node& node) {
  switch (node.kind) {
    case Kind::kNumber:
      return node.number.cost() > 1 ? 4 : 1;  // a big one is shifted down to its leading bits
    case Kind::kPower:
    case Kind::kRoot:
    case Kind::kFunction:
    case Kind::kFactorial:
    case Kind::kBinomial:
      return 8;  // a complex power in long double is a logarithm, a product and an exponential
    default:
      return 1;
  }
}

template <typename T>
std::complex<T> undefined() {
  return {std::numeric_limits<T>::quiet_NaN(), 0};
}

// A value in (0.3, 2.7), negative at every second point: dyadic, hence the same in both precisions.
template <typename T>
T sample(const std::string& name, int point) {
  uint64_t h = 0x9E3779B97F4A7C15ull * static_cast<uint64_t>(point + 1);
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  h ^= h >> 31;
  h *= 0xBF58476D1CE4E5B9ull;
  h ^= h >> 29;
  const T unit = static_cast<T>(h >> 40) / static_cast<T>(1 << 24);
  const T value = static_cast<T>(0.3125) + unit * static_cast<T>(2.25);
  return point % 2 == 1 && (h & 1) != 0 ? -value : value;
}

template <typename T>
bool is_real(const std::complex<T>& z) {
  return z.imag() == 0 && std::isfinite(z.real());
}

template <typename T>
std::complex<T> power(const std::complex<T>& base, const std::complex<T>& exponent) {
  if (is_real(base) && is_real(exponent)) {
    if (base.real() > 0 || exponent.real() == std::floor(exponent.real())) {
      return {std::pow(base.real(), exponent.real()), 0};
    }
  }
  if (base == std::complex<T>(0)) return is_real(exponent) && exponent.real() > 0 ? std::complex<T>(0) : undefined<T>();
  return std::pow(base, exponent);
}

template <typename T>
std::complex<T> function(const std::string& name, const std::complex<T>& x) {
  const bool on_axis = is_real(x);
  const T r = x.real();
  if (name == "sin") return on_axis ? std::complex<T>(std::sin(r)) : std::sin(x);
  if (name == "cos") return on_axis ? std::complex<T>(std::cos(r)) : std::cos(x);
  if (name == "tan") return on_axis ? std::complex<T>(std::tan(r)) : std::tan(x);
  if (name == "cot") return std::complex<T>(1) / std::tan(x);
  if (name == "sec") return std::complex<T>(1) / std::cos(x);
  if (name == "csc") return std::complex<T>(1) / std::sin(x);
  if (name == "arcsin") return on_axis && std::abs(r) <= 1 ? std::complex<T>(std::asin(r)) : std::asin(x);
  if (name == "arccos") return on_axis && std::abs(r) <= 1 ? std::complex<T>(std::acos(r)) : std::acos(x);
  if (name == "arctan") return on_axis ? std::complex<T>(std::atan(r)) : std::atan(x);
  if (name == "sinh") return on_axis ? std::complex<T>(std::sinh(r)) : std::sinh(x);
  if (name == "cosh") return on_axis ? std::complex<T>(std::cosh(r)) : std::cosh(x);
  if (name == "tanh") return on_axis ? std::complex<T>(std::tanh(r)) : std::tanh(x);
  if (name == "exp") return on_axis ? std::complex<T>(std::exp(r)) : std::exp(x);
  if (name == "ln" || name == "log") return on_axis && r > 0 ? std::complex<T>(std::log(r)) : std::log(x);
  if (name == "lg") return std::log(x) / std::log(static_cast<T>(10));
  if (name == "floor") return on_axis ? std::complex<T>(std::floor(r)) : undefined<T>();
  if (name == "ceil") return on_axis ? std::complex<T>(std::ceil(r)) : undefined<T>();
  return undefined<T>();
}

template <typename T>
std::complex<T> fold_function(const Tree& tree, const Node& node, int point, Steps* steps) {
  std::vector<std::complex<T>> values;
  for (const NodeId kid : node.kids) values.push_back(evaluate<T>(tree, kid, point, steps));
  if (values.size() == 2 && (node.name == "log" || node.name == "ln")) {
    return function("ln", values[0]) / function("ln", values[1]);
  }
  if (node.name == "max" || node.name == "min") {
    std::complex<T> best = values[0];
    for (const auto& v : values) {
      if (!is_real(v)) return undefined<T>();
      if ((v.real() > best.real()) == (node.name == "max")) best = v;
    }
    return best;
  }
  return values.size() == 1 ? function(node.name, values[0]) : undefined<T>();
}

}  // namespace

template <typename T>
std::complex<T> evaluate(const Tree& tree, NodeId id, int point, Steps* steps) {
  if (id == kNoNode || !steps->charge(evaluation_cost(tree[id]))) return undefined<T>();
  const Node& node = tree[id];
  const auto kid = [&](size_t i) { return evaluate<T>(tree, node.kids[i], point, steps); };
  switch (node.kind) {
    case Kind::kNumber:
      return {static_cast<T>(node.number.to_long_double()), 0};
    case Kind::kSymbol:
      return {sample<T>(node.name, point), 0};
    case Kind::kPi:
      return {std::numbers::pi_v<T>, 0};
    case Kind::kEuler:
      return {std::numbers::e_v<T>, 0};
    case Kind::kImaginary:
      return {0, 1};
    case Kind::kSum: {
      std::complex<T> sum = 0;
      for (size_t i = 0; i < node.kids.size(); ++i) sum += kid(i);
      return sum;
    }
    case Kind::kProduct: {
      std::complex<T> product = 1;
      for (size_t i = 0; i < node.kids.size(); ++i) product *= kid(i);
      return product;
    }
    case Kind::kNegate:
      return -kid(0);
    case Kind::kInverse: {
      const std::complex<T> x = kid(0);
      return x == std::complex<T>(0) ? undefined<T>() : std::complex<T>(1) / x;
    }
    case Kind::kPower: {
      const std::complex<T> base = kid(0), exponent = kid(1);
      return power(base, exponent);
    }
    case Kind::kRoot: {
      const std::complex<T> inside = kid(0), index = kid(1);
      if (is_real(inside) && inside.real() < 0 && is_real(index) && std::fmod(std::abs(index.real()), T(2)) == 1) {
        return {-std::pow(-inside.real(), 1 / index.real()), 0};
      }
      return power(inside, std::complex<T>(1) / index);
    }
    case Kind::kFunction:
      return fold_function<T>(tree, node, point, steps);
    case Kind::kFactorial: {
      const std::complex<T> x = kid(0);
      return is_real(x) && x.real() > -1 && x.real() < 1000 ? std::complex<T>(std::tgamma(x.real() + 1))
                                                            : undefined<T>();
    }
    case Kind::kBinomial: {
      const std::complex<T> n = kid(0), k = kid(1);
      if (!is_real(n) || !is_real(k) || n.real() < 0 || k.real() < 0 || n.real() - k.real() < 0) return undefined<T>();
      // Not lgamma: it writes the global `signgam`.
      return {std::tgamma(n.real() + 1) / (std::tgamma(k.real() + 1) * std::tgamma(n.real() - k.real() + 1)), 0};
    }
    case Kind::kAbsolute:
      return {std::abs(kid(0)), 0};
    case Kind::kPercent:
      return kid(0) / static_cast<T>(100);
    case Kind::kUnit:
      return kid(0);
    default:
      return undefined<T>();
  }
}

template std::complex<double> evaluate<double>(const Tree&, NodeId, int, Steps*);
template std::complex<long double> evaluate<long double>(const Tree&, NodeId, int, Steps*);

}  // namespace throughline::answer

#include "gym/answer/values.h"

#include <algorithm>
#include <cmath>
#include <complex>

#include "gym/answer/numeric.h"

namespace throughline::answer {
namespace {

constexpr int kPoints = 4;
constexpr int kPointsNeeded = 2;        // that many must have a value
constexpr int64_t kComparisonCost = 4;  // beside what the forms and the numbers cost
constexpr int64_t kFormCost = 4;        // of an entry in the table of forms

}  // namespace

const Quotient* Values::canonical(NodeId id) {
  const auto [entry, fresh] = forms_.try_emplace(id);
  if (fresh && work_.charge(kFormCost)) {
    Quotient form;
    if (algebra_.canonical(id, &form)) entry->second = std::move(form);
  }
  return entry->second ? &*entry->second : nullptr;
}

std::string Values::text(NodeId id) {
  const NodeId inner = work_.strip(id);
  const Quotient* form = work_.expression(inner) ? canonical(inner) : nullptr;
  return form != nullptr ? algebra_.to_text(*form) : to_text(work_.tree(), id);
}

bool Values::real_value(NodeId id, long double* value) {
  if (work_.has_variable(id)) return false;
  const std::complex<long double> z = evaluate<long double>(work_.tree(), id, 0, work_.steps());
  if (z.imag() != 0 || !std::isfinite(z.real())) return false;
  *value = z.real();
  return true;
}

Tri Values::proportional(NodeId a, NodeId b, int sign) {
  const Quotient* const x = canonical(a);
  const Quotient* const y = canonical(b);  // references into an unordered_map stay valid
  if (x == nullptr || y == nullptr) return Tri::kUnknown;
  int found = 0;
  if (algebra_.proportional(*x, *y, &found)) return yes_no(sign == 0 || found == sign);
  // Ratio at points: constant, or not.
  std::complex<long double> first = 0;
  int valid = 0;
  for (int point = 0; point < kPoints; ++point) {
    const auto ratio = evaluate<long double>(work_.tree(), a, point, work_.steps()) /
                       evaluate<long double>(work_.tree(), b, point, work_.steps());
    if (!std::isfinite(ratio.real()) || !std::isfinite(ratio.imag()) || std::abs(ratio) < 1e-12L) continue;
    if (valid++ == 0) {
      first = ratio;
    } else if (std::abs(ratio - first) > 1e-12L * std::abs(first)) {
      return Tri::kDifferent;
    }
  }
  if (valid < kPointsNeeded) return Tri::kUnknown;
  return yes_no(sign == 0 || (first.real() > 0) == (sign > 0));
}

Tri Values::numeric(NodeId a, NodeId b) {
  const Tree& tree = work_.tree();
  Steps* const steps = work_.steps();
  const int points = work_.has_variable(a) || work_.has_variable(b) ? kPoints : 1;
  int valid = 0;
  for (int point = 0; point < points; ++point) {
    const auto a2 = evaluate<long double>(tree, a, point, steps), b2 = evaluate<long double>(tree, b, point, steps);
    const std::complex<long double> a1 = evaluate<double>(tree, a, point, steps);
    const std::complex<long double> b1 = evaluate<double>(tree, b, point, steps);
    if (steps->exhausted()) return Tri::kUnknown;
    const long double scale = std::max(std::abs(a2), std::abs(b2));
    // The two precisions differ by the rounding error of the coarser: below it nothing can be told apart.
    const long double noise = std::abs(a1 - a2) + std::abs(b1 - b2);
    const long double gap = std::abs(a2 - b2);
    if (!std::isfinite(gap) || !std::isfinite(noise) || !std::isfinite(scale)) continue;
    if (scale != 0 && scale < 1e-290L) continue;  // too small for double to confirm
    ++valid;
    if (gap > 1e-15L * scale && gap > 0.02L * noise) return Tri::kDifferent;
    if (noise > 1e-6L * scale && scale > 1e-12L) return Tri::kUnknown;  // cancellation ate the digits
  }
  return valid >= std::min(points, kPointsNeeded) ? Tri::kEqual : Tri::kUnknown;
}

// One side is a decimal: equal when both round to the same. Tiny numbers must agree relatively as well.
bool Values::round_alike(NodeId a, NodeId b) {
  if (!work_.has_decimal(a) && !work_.has_decimal(b)) return false;
  long double x = 0, y = 0;
  if (!real_value(a, &x) || !real_value(b, &y)) return false;
  const long double scale = std::pow(10.0L, options_.decimal_places);
  if (std::abs(x) * scale > 1e17L || std::abs(y) * scale > 1e17L) return false;
  // std::round, not nearbyint: independent of the rounding mode.
  if (std::round(x * scale) != std::round(y * scale)) return false;
  return std::abs(x - y) <= 1e-4L * std::max(std::abs(x), std::abs(y));
}

Tri Values::same(NodeId a, NodeId b) {
  if (!work_.charge(kComparisonCost)) return Tri::kUnknown;
  const Quotient* const x = canonical(a);
  const Quotient* const y = canonical(b);
  Tri exact = Tri::kUnknown;
  if (x != nullptr && y != nullptr) exact = algebra_.equal(*x, *y);
  if (exact == Tri::kUnknown) exact = numeric(a, b);
  if (exact != Tri::kEqual && round_alike(a, b)) return Tri::kEqual;
  long double u = 0, v = 0;
  if (exact != Tri::kEqual && options_.relative_tolerance > 0 && real_value(a, &u) && real_value(b, &v) &&
      std::abs(u - v) <= options_.relative_tolerance * std::max(std::abs(u), std::abs(v))) {
    return Tri::kEqual;
  }
  return exact;
}

Tri Values::compare(NodeId gold, NodeId answer) {
  if (work_.is(gold, Kind::kUnit) && work_.is(answer, Kind::kUnit) && options_.units_must_agree &&
      work_.at(gold).name != work_.at(answer).name) {
    return Tri::kDifferent;
  }
  const NodeId a = work_.strip(gold), b = work_.strip(answer);
  const Tri equal = same(a, b);
  if (equal == Tri::kEqual || !options_.percent_leniency) return equal;
  if (work_.is(a, Kind::kPercent) && !work_.is(b, Kind::kPercent)) return same(work_.at(a).kids[0], b);
  return equal;
}

}  // namespace throughline::answer

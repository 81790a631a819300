#include "base/number_text.h"

#include <fmt/core.h>

#include <cmath>

#include "base/result.h"

namespace throughline {
namespace {

bool fits(const std::string& text, int width) { return static_cast<int>(text.size()) <= width; }

// The most decimals that fit; empty when even none does.
std::string most_decimals(double value, int width, int decimals, const char* unit) {
  for (int d = decimals; d >= 0; --d) {
    std::string text = fmt::format("{:.{}f}{}", value, d, unit);
    if (fits(text, width)) return text;
  }
  return "";
}

std::string scientific(double value, int width) {
  for (int d = 2; d >= 0; --d) {
    std::string text = fmt::format("{:.{}e}", value, d);
    if (fits(text, width)) return text;
  }
  return "#";
}

}  // namespace

std::string fit_number(double value, int width, int decimals) {
  TL_CHECK(width >= 4, "a number needs room");
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  if (value == 0) return "0";
  if (std::abs(value) < 0.5 * std::pow(10.0, -decimals)) {
    const int enough = static_cast<int>(std::ceil(-std::log10(std::abs(value)))) + 1;  // for two digits of the value
    const std::string text = enough <= decimals + 3 ? fmt::format("{:.{}f}", value, enough) : "";
    return !text.empty() && fits(text, width) ? text : scientific(value, width);
  }
  const std::string plain = most_decimals(value, width, decimals, "");
  // Digits that only fit without a sign of the value (0.04 as "0") are no digits.
  if (!plain.empty() && std::abs(value) < 0.5 && plain.find_first_of("123456789") == std::string::npos) {
    return scientific(value, width);
  }
  if (!plain.empty()) return plain;
  double scaled = value;
  for (const char* unit : {"K", "M", "G", "T", "P"}) {
    scaled /= 1000;
    if (std::abs(scaled) >= 1000) continue;
    const std::string text = most_decimals(scaled, width, 2, unit);
    return text.empty() ? scientific(value, width) : text;
  }
  return scientific(value, width);
}

std::string fit_share(double value, int width) {
  if (!(value >= 0 && value <= 1)) return fit_number(value, width, 2);
  const double percent = 100 * value;
  if (percent == std::round(percent)) return fmt::format("{:.0f}%", percent);
  if (percent > 99.9) return "99.9%";  // not quite all
  if (percent < 0.1) return "0.1%";    // not quite none
  return fmt::format("{:.1f}%", percent);
}

std::string fit_mebibytes(double mebibytes, int width) {
  if (!std::isfinite(mebibytes) || mebibytes < 0) return fit_number(mebibytes, width, 0);
  double scaled = mebibytes;
  for (const char* unit : {"M", "G", "T", "P"}) {
    if (scaled < 999.5) {
      const std::string text = most_decimals(scaled, width, *unit == 'M' ? 0 : 2, unit);
      return text.empty() ? "#" : text;
    }
    scaled /= 1024;
  }
  return scientific(mebibytes, width);
}

}  // namespace throughline

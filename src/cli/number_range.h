// CLI::Range for numbers with a fraction, but that "nan" lies in no range.
#pragma once

#include <fmt/format.h>

#include <CLI/Validators.hpp>
#include <cstdlib>
#include <string>

namespace throughline {

inline CLI::Validator number_range(double low, double high) {
  const auto outside = [low, high](const std::string& text) -> std::string {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const bool number = !text.empty() && *end == '\0';
    return number && value >= low && value <= high
               ? ""
               : fmt::format("{} is not a number from {:g} to {:g}", text, low, high);
  };
  return CLI::Validator(outside, fmt::format("FLOAT in [{:g} - {:g}]", low, high));
}

}  // namespace throughline

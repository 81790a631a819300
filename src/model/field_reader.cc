#include "model/field_reader.h"

#include <fmt/format.h>

#include <cmath>

namespace throughline {

bool FieldReader::has(const char* name) const {
  const auto it = object_.find(name);
  return it != object_.end() && !it->is_null();
}

void FieldReader::fail(const std::string& name, const std::string& what, const std::string& remedy) {
  if (!error_) error_ = Error{what, where_ + ": " + prefix_ + name, remedy};
}

int64_t FieldReader::integer(const char* name, int64_t fallback, int64_t low, int64_t high) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  const double wide = value->is_number() ? value->get<double>() : 0;
  if (!value->is_number() || wide != std::floor(wide)) {
    fail(name, fmt::format("must be a whole number, not {}", dump_json(*value)));
    return fallback;
  }
  if (!(wide >= static_cast<double>(low) && wide <= static_cast<double>(high))) {
    fail(name, fmt::format("{} is out of range ({} to {})", dump_json(*value), low, high));
    return fallback;
  }
  return static_cast<int64_t>(wide);
}

int64_t FieldReader::required_integer(const char* name, int64_t low, int64_t high) {
  if (!has(name)) {
    fail(name, "is missing");
    return low;
  }
  return integer(name, low, low, high);
}

double FieldReader::number(const char* name, double fallback, double low, double high) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_number()) {
    fail(name, fmt::format("must be a number, not {}", dump_json(*value)));
    return fallback;
  }
  const auto number = value->get<double>();
  if (!(number >= low && number <= high)) {
    fail(name, fmt::format("{} is out of range ({:g} to {:g})", dump_json(*value), low, high));
    return fallback;
  }
  return number;
}

bool FieldReader::boolean(const char* name, bool fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    fail(name, fmt::format("must be true or false, not {}", dump_json(*value)));
    return fallback;
  }
  return value->get<bool>();
}

std::string FieldReader::text(const char* name, const std::string& fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    fail(name, fmt::format("must be a string, not {}", dump_json(*value)));
    return fallback;
  }
  return value->get<std::string>();
}

}  // namespace throughline

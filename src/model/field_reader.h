// Reads named values of one JSON object with range checks and remembers the first fault: "file: field: what".
// A field that is absent or null takes its default. Integers may be written as 4096 or 4096.0, not 4096.5.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

class FieldReader {
 public:
  // `prefix` is put before field names in errors: "rope_scaling.".
  FieldReader(const Json& object, std::string where, std::string prefix = "")
      : object_(object), where_(std::move(where)), prefix_(std::move(prefix)) {}

  bool has(const char* name) const;  // there and not null
  const Json* find(const char* name) const { return has(name) ? &object_.at(name) : nullptr; }

  int64_t integer(const char* name, int64_t fallback, int64_t low, int64_t high);
  int64_t required_integer(const char* name, int64_t low, int64_t high);
  double number(const char* name, double fallback, double low, double high);
  bool boolean(const char* name, bool fallback);
  std::string text(const char* name, const std::string& fallback);

  void fail(const std::string& name, const std::string& what, const std::string& remedy = "");
  void adopt(const std::optional<Error>& error) {  // the fault of a reader of an inner object
    if (!error_) error_ = error;
  }
  const std::optional<Error>& error() const { return error_; }
  const std::string& where() const { return where_; }

 private:
  const Json& object_;
  std::string where_, prefix_;
  std::optional<Error> error_;
};

}  // namespace throughline

// Reads the fields of one object of an untrusted file: the first wrong one is remembered as an Error.
//
// Usage: read all fields, then look at status() once; after an error the getters return their defaults.
// A field that is absent or null takes its default. Not for large objects (lookups are linear).
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

class JsonFields {
 public:
  // `where` names the object: "x/tokenizer.json: normalizer".
  JsonFields(const Json& object, std::string where);

  bool has(const char* name) const { return find(name) != nullptr; }
  bool boolean(const char* name, bool otherwise);
  int64_t integer(const char* name, int64_t otherwise, int64_t minimum, int64_t maximum);
  double number(const char* name, double otherwise);
  std::string text(const char* name, const std::string& otherwise);
  std::string required_text(const char* name);
  char32_t character(const char* name, char32_t otherwise);  // a text of one code point
  const Json* object(const char* name);                      // nullptr when absent
  const Json* list(const char* name);

  void fail(const char* name, const std::string& what, const std::string& remedy = "");
  std::string at(const char* name) const { return where_ + "." + name; }
  const std::string& where() const { return where_; }
  const Status& status() const { return status_; }

 private:
  const Json* find(const char* name) const;
  const Json& json_;
  std::string where_;
  Status status_;
};

// The Error for a part (normaliser, decoder, ...) of a kind that this program does not know.
Error unsupported_part(const std::string& part, const std::string& type, const std::string& known,
                       const std::string& where);

}  // namespace throughline

// One schema document on its way into a grammar (internal to the room; json_schema.h says what is known).
//
// Subschemas become rules, found by their place in the document, so that $ref may lead anywhere; those not yet defined
// wait in a list. One document, one thread; the document must outlive it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "grammar/json_grammar.h"

namespace throughline {

class SchemaCompiler {
 public:
  SchemaCompiler(GrammarBuilder& builder, JsonRules& json, const Json& document, std::string where)
      : builder_(builder), json_(json), document_(document), where_(std::move(where)) {}

  Result<int32_t> compile();  // the document's rule
  // The types its values may have, as bits in the order of kSchemaTypes; perhaps some more.
  unsigned types(const Json& schema, int depth = 0) const;

 private:
  struct Pending {
    const Json* schema;
    int32_t rule;
    std::string path;
  };
  struct Count {
    int64_t least = 0, most = -1;  // most -1: no end
  };

  int32_t rule_of(const Json& schema, const std::string& path);
  Error wrong(const std::string& path, const std::string& what) const;
  Status define(const Json& schema, int32_t rule, const std::string& path);
  Status check_keywords(const Json& schema, const std::string& path) const;
  Status add_type(const Json& schema, const std::string& type, int32_t from, int32_t to, const std::string& path);
  Status add_values(const Json& schema, int32_t from, int32_t to, const std::string& path);
  Status add_alternatives(const Json& schema, const char* keyword, int32_t from, int32_t to, const std::string& path);
  Status add_object(const Json& schema, int32_t from, int32_t to, const std::string& path);
  Status add_array(const Json& schema, int32_t from, int32_t to, const std::string& path);
  Status add_string(const Json& schema, int32_t from, int32_t to, const std::string& path);
  Status add_number(const Json& schema, bool integer, int32_t from, int32_t to, const std::string& path);

  Result<Count> count(const Json& schema, const char* least, const char* most, const std::string& path) const;
  const Json* target(const std::string& ref) const;  // null: nothing is there
  const Json& resolved(const Json& schema) const;
  // Can no value satisfy both? False also when that is not plain to see.
  bool apart(const Json& a, const Json& b, int depth) const;

  GrammarBuilder& builder_;
  JsonRules& json_;
  const Json& document_;
  const std::string where_;
  std::unordered_map<const Json*, int32_t> rules_;
  std::vector<Pending> pending_;
  std::map<std::string, int32_t> strings_;  // rules, by what they say
  mutable int64_t looks_left_ = 1 << 14;    // of apart(): a bound on its time, all calls together
};

constexpr const char* kSchemaTypes[] = {"null", "boolean", "integer", "number", "string", "array", "object"};

}  // namespace throughline

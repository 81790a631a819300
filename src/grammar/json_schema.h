// JSON schemas (2020-12 and draft 7's spelling of $defs) and tool calls as grammars: every text of the grammar is JSON
// that satisfies the schema. The reverse does not hold; where JSON has many spellings, the grammar has few:
//   members stand in the order of `properties`, additional ones behind them; without additionalProperties an object
//   that names properties has no others; numbers and free values as in json_grammar.h.
//
// Known: type, enum, const, properties, required, additionalProperties, minProperties (of what is required anyway),
// items, prefixItems, minItems, maxItems, minLength, maxLength, pattern (pattern.h), format (kFormats), minimum,
// maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf (where at most one can hold), allOf (of one), $ref within
// the document, also to itself. All else that asserts something is an error naming the keyword and its place.
// Schemas are untrusted: work is linear in the text and the grammar's limit (byte_grammar.h); nothing recurses.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "grammar/byte_grammar.h"

namespace throughline {

constexpr size_t kMostSchemaBytes = size_t{256} << 10;  // as compact JSON
constexpr int64_t kMostRepeats = 4096;                  // of characters and items; a larger maximum is read as this

// What an answer has to be.
struct GrammarSpec {
  Json schema = nullptr;  // of the whole answer; unless there are tools

  struct Tool {
    std::string name;
    Json parameters = nullptr;  // a schema; null: any object
    std::string where;          // of the parameters, in errors
  };
  std::vector<Tool> tools;  // the answer is a call of one of them
  bool tagged = false;      // <tool_call>{"name":...,"arguments":...}</tool_call>, else {"name":...,"parameters":...}
  bool several = false;     // calls may follow each other (tagged)

  std::string where;        // of the schema, in errors
  std::string key() const;  // equal for equal grammars
};

Result<ByteGrammar> make_grammar(const GrammarSpec& spec);

}  // namespace throughline

// For tests of grammars: a vocabulary of bytes and some longer tokens, texts spelt at random, and a plain validator.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include "base/rng.h"
#include "grammar/json_schema.h"
#include "grammar/token_grammar.h"
#include "text/utf8.h"

namespace throughline {

inline std::shared_ptr<const TokenTrie> test_vocabulary() {
  static const auto trie = [] {
    std::vector<std::string> tokens;
    for (int c = 0; c < 256; ++c) tokens.emplace_back(1, static_cast<char>(c));
    for (const char* more :
         {"{\"", "\":",  "\": ", "\",",         "\"}",          "\"]",  "[]",           "{}",       "}]",
          ", ",  ",\n",  "\n\n", "  ",          "tr",           "true", "null",         "ab",       "abc",
          "the", " the", "123",  "00",          "-1",           ".5",   "e+",           "\xC3\xA9", "\xE2\x82",
          "\\n", "\\u",  "\\\"", "<tool_call>", "</tool_call>", "name", "{\"name\": \""})
      tokens.emplace_back(more);
    tokens.emplace_back();  // an id without text
    return std::make_shared<const TokenTrie>(std::move(tokens));
  }();
  return trie;
}

inline std::shared_ptr<TokenGrammar> grammar_of(const GrammarSpec& spec) {
  auto grammar = make_grammar(spec);
  EXPECT_TRUE(grammar.ok()) << grammar.error().line() << " " << spec.schema;
  if (!grammar.ok()) return nullptr;
  return std::make_shared<TokenGrammar>(std::move(grammar).value(), test_vocabulary());
}
inline std::shared_ptr<TokenGrammar> grammar_of(const Json& schema) {
  return grammar_of(GrammarSpec{.schema = schema, .where = "schema"});
}

// Byte by byte.
inline bool takes(TokenGrammar& grammar, const std::string& text) {
  TokenGrammar::State state;
  for (const char c : text) {
    if (!grammar.accept(state, static_cast<uint8_t>(c))) return false;
  }
  return grammar.next(state).may_end;
}

// A text of random tokens; after `wild` of them what closes is preferred.
inline std::string spell(TokenGrammar& grammar, CounterStream& random, int wild) {
  static const std::string kClosing = "}]\"";
  std::string text;
  TokenGrammar::State state;
  for (int step = 0; step < wild + 20000; ++step) {
    const auto [ids, may_end] = grammar.next(state);
    const bool closing = step >= wild;
    if (may_end && (closing || ids->bits.empty() || random.integer(0, 3) == 0)) return text;
    std::vector<int32_t> can;
    for (int32_t id = 0; !ids->bits.empty() && id < static_cast<int32_t>(test_vocabulary()->tokens.size()); ++id) {
      if (ids->has(id)) can.push_back(id);
    }
    if (can.empty()) break;
    int32_t id = can[static_cast<size_t>(random.integer(0, static_cast<int64_t>(can.size()) - 1))];
    if (random.integer(0, closing ? 1 : 3) == 0) {
      std::vector<int32_t> ends;
      for (const char c : kClosing) {
        if (ids->has(static_cast<uint8_t>(c))) ends.push_back(static_cast<uint8_t>(c));
      }
      if (!ends.empty()) id = ends[static_cast<size_t>(random.integer(0, static_cast<int64_t>(ends.size()) - 1))];
    }
    EXPECT_TRUE(grammar.accept(state, id)) << "in the mask, but refused: " << id << " after " << text;
    text += test_vocabulary()->tokens[static_cast<size_t>(id)];
  }
  ADD_FAILURE() << "no end after " << text.substr(0, 2000);
  return text;
}

// JSON Schema 2020-12, as far as the grammar knows it; written from the specification, apart from the grammar.
class Validator {
 public:
  explicit Validator(const Json& root) : root_(root) {}
  bool valid(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    for (const auto& [key, rule] : schema.items()) {
      if (!keyword(key, rule, schema, value)) return false;
    }
    return true;
  }

 private:
  static bool is(const std::string& type, const Json& v) {
    if (type == "null") return v.is_null();
    if (type == "boolean") return v.is_boolean();
    if (type == "number") return v.is_number();
    if (type == "integer")
      return v.is_number_integer() || (v.is_number_float() && std::floor(v.get<double>()) == v.get<double>());
    if (type == "string") return v.is_string();
    if (type == "array") return v.is_array();
    return v.is_object();
  }
  static std::wstring wide(const Json& json) {
    const std::string text = json;
    std::wstring out;
    for (size_t at = 0; at < text.size();) {
      const Utf8Step step = next_code_point(text, at);
      out.push_back(static_cast<wchar_t>(step.code));
      at += static_cast<size_t>(step.size);
    }
    return out;
  }
  static size_t length(const Json& text) {
    size_t count = 0;
    for (const char c : text.get<std::string>()) count += (c & 0xC0) != 0x80 ? 1 : 0;
    return count;
  }
  template <typename Rules>
  int64_t matching(const Rules& rules, const Json& v) const {
    int64_t out = 0;
    for (const auto& rule : rules) out += valid(rule, v) ? 1 : 0;
    return out;
  }
  bool keyword(const std::string& key, const Json& rule, const Json& schema, const Json& v) const {
    if (key == "type") {
      if (rule.is_string()) return is(rule, v);
      for (const auto& one : rule) {
        if (is(one, v)) return true;
      }
      return false;
    }
    if (key == "const") return v == rule;
    if (key == "enum") return std::find(rule.begin(), rule.end(), v) != rule.end();
    if (key == "anyOf") return matching(rule, v) > 0;
    if (key == "oneOf") return matching(rule, v) == 1;
    if (key == "allOf") return matching(rule, v) == static_cast<int64_t>(rule.size());
    if (key == "$ref") {
      const std::string ref = rule;
      return valid(ref == "#" ? root_ : root_.at(Json::json_pointer(ref.substr(1))), v);
    }
    if (v.is_object()) return object(key, rule, schema, v);
    if (v.is_array()) return array(key, rule, schema, v);
    if (v.is_string()) {
      if (key == "minLength") return length(v) >= rule.get<size_t>();
      if (key == "maxLength") return length(v) <= rule.get<size_t>();
      if (key == "pattern") return std::regex_search(wide(v), std::wregex(wide(rule)));
    }
    if (v.is_number()) {
      if (key == "minimum") return v >= rule;
      if (key == "maximum") return v <= rule;
      if (key == "exclusiveMinimum") return v > rule;
      if (key == "exclusiveMaximum") return v < rule;
    }
    return true;
  }
  bool object(const std::string& key, const Json& rule, const Json& schema, const Json& v) const {
    if (key == "required") {
      return std::all_of(rule.begin(), rule.end(),
                         [&](const Json& name) { return v.contains(name.get<std::string>()); });
    }
    if (key == "minProperties") return v.size() >= rule.get<size_t>();
    for (const auto& [name, one] : v.items()) {
      const bool known = schema.contains("properties") && schema["properties"].contains(name);
      if (key == "properties" && known && !valid(rule[name], one)) return false;
      if (key == "additionalProperties" && !known && !valid(rule, one)) return false;
    }
    return true;
  }
  bool array(const std::string& key, const Json& rule, const Json& schema, const Json& v) const {
    if (key == "minItems") return v.size() >= rule.get<size_t>();
    if (key == "maxItems") return v.size() <= rule.get<size_t>();
    const size_t prefix = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
    for (size_t i = 0; i < v.size(); ++i) {
      if (key == "prefixItems" && i < prefix && !valid(rule[i], v[i])) return false;
      if (key == "items" && i >= prefix && !valid(rule, v[i])) return false;
    }
    return true;
  }
  const Json& root_;
};

}  // namespace throughline

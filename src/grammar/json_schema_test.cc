#include <ctime>

#include "grammar/grammar_test_kit.h"

namespace throughline {
namespace {

struct Case {
  const char* schema;
  std::vector<const char*> good, bad;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> list = {
      {R"({"type":"object"})",
       {"{}", R"({"a": [1, {"b": null}], "a": "x"})", "\n\n{ }"},
       {"[]", "1", "{} ", R"({"a"})", "{a:1}"}},
      {R"(true)", {"1", "[[[[]]]]", R"("x")", "-0.5e-7", "null"}, {"01", "+1", "1.", ".5", "nul", "[1,]", "'x'"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a"]})",
       {R"({"a": 1})", R"({"a":-7,"b":"x"})", "{\n  \"a\": 1,\n  \"b\": \"\"\n}"},
       {R"({"b":"x"})", R"({"b":"x","a":1})", R"({"a":1,"c":1})", R"({"a":1.5})", R"({"a":1,"a":2})"}},
      {R"({"type":"object","properties":{"a":{},"b":{},"c":{}},"required":["b"]})",
       {R"({"b":1})", R"({"a":1,"b":1})", R"({"b":1,"c":1})", R"({"a":1,"b":1,"c":1})"},
       {R"({"a":1})", R"({"a":1,"c":1})", "{}", R"({,"b":1})"}},
      {R"({"properties":{"ab":{"type":"null"},"a":{"type":"null"},"é":{"type":"null"}},"additionalProperties":{"type":"integer"}})",
       {R"({"ab":null,"x":1,"abc":2,"b":3})", R"({"":1})", R"({"aé":1,"z€":1})", R"({"é":null})"},
       {R"({"ab":1})", R"({"a":1})", R"({"é":1})", R"({"x":null})", R"({"\u0061":1})"}},
      {R"({"required":["x"]})", {R"({"x":[],"y":1})"}, {"{}", R"({"y":1,"x":1})"}},
      {R"({"type":"object","minProperties":1,"properties":{"a":{},"b":{}}})", {R"({"a":1})", R"({"b":1})"}, {"{}"}},
      {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
       {"[1]", "[1, 2]", "[1,2,3]"},
       {"[]", "[1,2,3,4]", "[1,\"a\"]"}},
      {R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"items":{"type":"null"}})",
       {"[]", "[1]", R"([1,"a"])", R"([1,"a",null,null])"},
       {R"(["a"])", R"([1,"a",1])", "[1,null]"}},
      {R"({"prefixItems":[{"type":"integer"}],"items":false})", {"[]", "[1]"}, {"[1,1]"}},
      {R"({"type":"array","minItems":2})", {"[1,2]", "[1,2,[]]"}, {"[1]"}},
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", R"("aé€")", R"("\n\"")", R"("\u00e9x")", "\"\xF0\x9F\x99\x82x\""},
       {R"("a")", R"("abcd")", R"("\ud800x")", "\"a\nb\"", "\"\xC3x\"", "\"\xED\xA0\x80x\""}},
      {R"({"type":["string","null"]})", {R"("")", "null"}, {"1"}},
      {R"({"type":"boolean"})", {"true", "false"}, {"null", "tru"}},
      {R"({"enum":["red","green",1,null,{"a":[1]}]})",
       {R"("red")", "1", "null", R"({"a":[1]})"},
       {R"("re")", "2", "11"}},
      {R"({"type":"string","enum":["x",1]})", {R"("x")"}, {"1"}},
      {R"({"const":"a\"b"})", {R"("a\"b")"}, {R"("ab")"}},
      {R"({"type":"integer","minimum":-3,"exclusiveMaximum":120})",
       {"-3", "0", "7", "119", "99"},
       {"-4", "120", "1000", "1.0", "-0"}},
      {R"({"type":"integer","minimum":0.5,"maximum":2.5})", {"1", "2"}, {"0", "3"}},
      {R"({"type":"number","minimum":0.25,"exclusiveMaximum":1.5})",
       {"0.25", "0.3", "1", "1.0", "1.49", "0.999"},
       {"0.2", "0.249", "1.5", "1.50", "2", "0"}},
      {R"({"type":"number","exclusiveMinimum":-1,"maximum":0})",
       {"0", "-0.5", "-0.999", "0.0"},
       {"-1", "-1.0", "0.1", "1"}},
      {R"({"type":"integer","minimum":10,"maximum":9223372036854775807})",
       {"10", "1234567890123456"},
       {"9", "12345678901234567"}},
      {R"({"anyOf":[{"type":"integer"},{"type":"array","items":{"$ref":"#"}}]})",
       {"1", "[]", "[1,[2,[]]]"},
       {"\"x\"", "[[null]]"}},
      {R"({"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"v":{"type":"integer"}},"required":["k"]},
                    {"type":"object","properties":{"k":{"const":"b"},"v":{"type":"string"}},"required":["k"]}]})",
       {R"({"k":"a","v":1})", R"({"k":"b","v":"1"})"},
       {R"({"k":"a","v":"1"})"}},
      {R"({"$defs":{"n/x":{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#/$defs/n~1x"},{"type":"null"}]}},
          "required":["next"]}},"$ref":"#/$defs/n~1x"})",
       {R"({"next":null})", R"({"next":{"next":null}})"},
       {"{}", R"({"next":1})"}},
      {R"({"allOf":[{"$ref":"#/definitions/a"}],"definitions":{"a":{"type":"null"}},"title":"t"})", {"null"}, {"1"}},
      {R"({"type":"string","pattern":"^[a-c]+-\\d{2,3}$"})",
       {R"("a-12")", R"("cab-123")"},
       {R"("-12")", R"("a-1")", R"("a-1234")"}},
      {R"({"type":"string","pattern":"b"})", {R"("b")", R"("abc")", R"("\nb")"}, {R"("")", R"("ac")"}},
      {R"({"type":"string","pattern":"^a|b$"})", {R"("ax")", R"("xb")"}, {R"("xa")", R"("bx")"}},
      {R"({"type":"string","pattern":"^(?:\\w+\\.)*[^\\s\"]?$"})",
       {R"("")", R"("a.b1.é")", R"("\\")"},
       {R"("a b")", R"("\"")"}},
      {R"({"type":"string","pattern":"^.{3}$"})", {R"("aé€")", R"("\t\"\\")"}, {R"("ab")", R"("ab\n")"}},
      {R"({"format":"date"})",
       {R"("2024-02-28")", R"("1999-12-31")"},
       {R"("2024-02-30")", R"("2024-13-01")", R"("24-1-1")"}},
      {R"({"format":"uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"}},
      {R"({"format":"ipv4"})", {R"("192.168.0.255")"}, {R"("256.1.1.1")", R"("1.1.1")"}}};
  return list;
}

TEST(JsonSchema, TakesAndRefuses) {
  for (const auto& [schema, good, bad] : cases()) {
    const auto grammar = grammar_of(parse_json(schema, "schema").value());
    ASSERT_NE(grammar, nullptr);
    for (const char* text : good) EXPECT_TRUE(takes(*grammar, text)) << schema << "\n" << text;
    for (const char* text : bad) EXPECT_FALSE(takes(*grammar, text)) << schema << "\n" << text;
  }
}

TEST(JsonSchema, WhatIsSpeltAtRandomIsValid) {
  CounterStream random(11, 0, RngPurpose::kTest);
  for (const auto& entry : cases()) {
    const Json schema = parse_json(entry.schema, "schema").value();
    const auto grammar = grammar_of(schema);
    for (int i = 0; i < 40; ++i) {
      const std::string text = spell(*grammar, random, i * 4);
      // Names twice in an object are JSON; readers take the last.
      const Json value = Json::parse(text, nullptr, false);
      ASSERT_FALSE(value.is_discarded()) << text;
      EXPECT_TRUE(Validator(schema).valid(schema, value)) << schema << "\n" << text;
    }
  }
}

// Schemas of all that is known, at random.
class Schemas {
 public:
  explicit Schemas(uint64_t seed) : random_(seed, 0, RngPurpose::kTest) {}
  Json document() {
    Json out = make(3);
    if (out.is_object())
      out["$defs"] = {{"leaf", make(0)}, {"list", {{"type", "array"}, {"items", {{"$ref", "#/$defs/leaf"}}}}}};
    return out;
  }

 private:
  int64_t upto(int64_t n) { return random_.integer(0, n); }
  Json scalar() {
    switch (upto(7)) {
      case 0:
        return {{"type", "string"}, {"minLength", upto(3)}, {"maxLength", 3 + upto(40)}};
      case 1:
        return {{"type", "integer"}, {"minimum", upto(300) - 150}, {"maximum", 150 + upto(100000)}};
      case 2:
        return {{"type", "number"}, {"exclusiveMinimum", static_cast<double>(upto(1000)) / 64 - 8}, {"maximum", 8.5}};
      case 3:
        return {{"enum", {"a", "ab", upto(99), nullptr, true}}};
      case 4:
        return {{"type", "string"}, {"pattern", upto(1) != 0 ? "^[a-f]{2,5}(x|yz)*$" : "[a-z]|é"}};
      case 5:
        return {{"type", {"boolean", "null", "integer"}}};
      case 6:
        return {{"type", "number"}};
      default:
        return {{"type", "string"}};
    }
  }
  Json make(int depth) {
    if (depth == 0) return scalar();
    switch (upto(6)) {
      case 0: {
        Json out = {{"type", "array"}, {"items", make(depth - 1)}, {"minItems", upto(2)}};
        if (upto(1) != 0) out["maxItems"] = 2 + upto(3);
        if (upto(2) == 0) out["prefixItems"] = {scalar(), make(depth - 1)};
        return out;
      }
      case 1:
        return {{"anyOf", {make(depth - 1), make(depth - 1), scalar()}}};
      case 2:
        return {{"oneOf", {{{"type", "string"}}, {{"type", "array"}, {"items", make(depth - 1)}}, {{"type", "null"}}}}};
      case 3:
        return {{"$ref", upto(1) != 0 ? "#/$defs/leaf" : "#/$defs/list"}};
      default:
        break;
    }
    Json out = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
    for (int64_t i = 0, n = upto(4); i <= n; ++i) {
      const std::string name = std::string(1 + upto(2), static_cast<char>('a' + upto(3))) + (upto(5) == 0 ? "é" : "");
      out["properties"][name] = make(depth - 1);
      if (upto(1) != 0) out["required"].push_back(name);
    }
    if (upto(2) == 0) out["additionalProperties"] = make(depth - 1);
    return out;
  }
  CounterStream random_;
};

TEST(JsonSchema, RandomSchemasHold) {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    const Json schema = Schemas(seed).document();
    const auto grammar = grammar_of(schema);
    ASSERT_NE(grammar, nullptr) << schema;
    CounterStream random(seed, 1, RngPurpose::kTest);
    for (int i = 0; i < 6; ++i) {
      const std::string text = spell(*grammar, random, i * 30);
      const Json value = Json::parse(text, nullptr, false);
      ASSERT_FALSE(value.is_discarded()) << text;
      ASSERT_TRUE(Validator(schema).valid(schema, value)) << schema << "\n" << text;
    }
  }
}

TEST(JsonSchema, NamesWhatItDoesNotKnow) {
  const std::pair<const char*, const char*> list[] = {
      {R"({"not":{}})", "s: the keyword \"not\""},
      {R"({"properties":{"x":{"if":true}}})", "s.properties.x: the keyword \"if\""},
      {R"({"type":"array","uniqueItems":true})", "uniqueItems"},
      {R"({"type":"string","format":"color"})", "s.format"},
      {R"({"type":"text"})", "s.type"},
      {R"({"$ref":"other.json"})", "s.$ref"},
      {R"({"$ref":"#/$defs/none"})", "s.$ref"},
      {R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", "refers to itself"},
      {R"({"type":"array","minItems":1,"items":{"$ref":"#"}})", "no text can satisfy"},
      {R"({"type":"integer","minimum":5,"maximum":4})", "no text can satisfy"},
      {R"({"enum":[]})", "no text can satisfy"},
      {R"(false)", "no text can satisfy"},
      {R"(7)", "must be an object"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "use anyOf"},
      {R"({"anyOf":[{"type":"integer"}],"type":"integer"})", "stand alone"},
      {R"({"type":"string","pattern":"a","maxLength":3})", "only one of pattern"},
      {R"({"type":"string","minLength":-1})", "s.minLength"},
      {R"({"type":"string","minLength":5000})", "s.minLength"},
      {R"j({"type":"string","pattern":"(?=a)"})j", "looks ahead"},
      {R"({"type":"string","pattern":"(a)\\1"})", "has \\1"},
      {R"({"type":"string","pattern":"a^b"})", "anchor"},
      {R"({"type":"string","pattern":"(a"})", "lacks a )"},
      {R"j({"type":"string","pattern":"a)"})j", "too many"},
      {R"({"type":"string","pattern":"[b-a]"})", "out of order"},
      {R"({"type":"string","pattern":"*"})", "nothing to repeat"},
      {R"({"type":"number","minimum":0.30000000000000004})", "15 digits"}};
  for (const auto& [schema, wants] : list) {
    const auto made = make_grammar({.schema = parse_json(schema, "x").value(), .where = "s"});
    ASSERT_FALSE(made.ok()) << schema;
    EXPECT_NE(made.error().line().find(wants), std::string::npos) << made.error().line();
  }
}

// What a stranger may send: it is refused or made in little time, and a first set of ids is found.
TEST(JsonSchema, HostileSchemasCostLittle) {
  std::vector<std::pair<std::string, Json>> list;
  const auto pattern = [&](const std::string& name, const std::string& text) {
    list.emplace_back(name, Json{{"type", "array"}, {"items", {{"type", "string"}, {"pattern", text}}}});
  };
  pattern("repeats of repeats", "^((a{1,60}b?){1,60}c?){1,60}$");
  pattern("empty repeats", "((((){1000}){1000}){1000}){1000}");
  pattern("exponential as one automaton", "(a|b)*a(a|b){18}");
  std::string many;
  for (int i = 0; i < 40; ++i)
    many +=
        (i > 0 ? "|" : "") + std::string("[a-z]{0,") + std::to_string(i) + "}x[a-z]{0," + std::to_string(40 - i) + "}";
  pattern("many overlapping", "^(" + many + ")$");
  pattern("open brackets", std::string(50000, '('));
  pattern(
      "nested stars", "^" + std::string(60, '(') + "a" + [] {
        std::string out;
        for (int i = 0; i < 60; ++i) out += ")*";
        return out;
      }() + "$");
  Json names = Json::array(), wide = Json::object(), ways = Json::array(), nothing = Json::array();
  for (int i = 0; i < 20000; ++i) names.push_back("v" + std::to_string(i));
  list.emplace_back("20000 words", Json{{"enum", names}});
  for (int i = 0; i < 1000; ++i) {
    Json inner = Json::object();
    for (int j = 0; j < 5; ++j) inner["q" + std::to_string(j)] = {{"type", "string"}, {"maxLength", 50}};
    wide["p" + std::to_string(i)] = {{"type", "object"}, {"properties", inner}};
  }
  list.emplace_back("5000 properties", Json{{"type", "object"}, {"properties", wide}});
  for (int i = 0; i < 100; ++i) {
    Json inner = Json::object();
    for (int j = 0; j < 10; ++j) inner["k" + std::to_string(j)] = {{"type", "string"}, {"maxLength", 100 + i}};
    ways.push_back({{"type", "object"}, {"properties", inner}});
  }
  list.emplace_back("100 alike alternatives", Json{{"anyOf", ways}});
  list.emplace_back("doubling", Json{{"anyOf",
                                      {{{"type", "array"}, {"items", {{"$ref", "#"}}}, {"maxItems", 3}},
                                       {{"type", "array"}, {"items", {{"$ref", "#"}}}, {"maxItems", 4}}}}});
  for (int i = 0; i < 40000; ++i) nothing.push_back(false);
  list.emplace_back("alternatives that are none", Json{{"anyOf", nothing}});
  list.emplace_back(
      "long counts",
      Json{{"type", "array"},
           {"minItems", 4096},
           {"items", {{"type", "array"}, {"minItems", 4096}, {"items", {{"type", "string"}, {"minLength", 4096}}}}}});
  Json chain = Json::object();
  for (int i = 0; i < 5000; ++i) chain["d" + std::to_string(i)] = {{"$ref", "#/$defs/d" + std::to_string(i + 1)}};
  chain["d5000"] = {{"type", "null"}};
  list.emplace_back("a chain of links", Json{{"$ref", "#/$defs/d0"}, {"$defs", chain}});
  Json exclusive = Json::array();
  for (int i = 0; i < 64; ++i) {
    Json both = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
    for (int j = 0; j < 64; ++j) {
      both["properties"]["p" + std::to_string(j)] = {{"$ref", "#/$defs/x"}};
      both["required"].push_back("p" + std::to_string(j));
    }
    exclusive.push_back(both);
  }
  Json x = exclusive[0];
  for (auto& [name, value] : x["properties"].items()) value = {{"$ref", "#/$defs/y"}};
  list.emplace_back("alternatives hard to tell apart", Json{{"oneOf", exclusive}, {"$defs", {{"x", x}, {"y", true}}}});

  for (const auto& [name, schema] : list) {
    const std::clock_t begin = std::clock();  // processor time: the machine may be busy
    auto made = make_grammar({.schema = schema, .where = "s"});
    const bool good = made.ok();
    if (good) {
      TokenGrammar grammar(std::move(made).value(), test_vocabulary());
      CounterStream random(3, 0, RngPurpose::kTest);
      TokenGrammar::State state;
      for (int step = 0; step < 60; ++step) {
        const auto ids = grammar.next(state).ids;
        std::vector<int32_t> can;
        for (int32_t id = 0; !ids->bits.empty() && id < 256; ++id) {
          if (ids->has(id)) can.push_back(id);
        }
        if (can.empty()) break;
        EXPECT_TRUE(
            grammar.accept(state, can[static_cast<size_t>(random.integer(0, static_cast<int64_t>(can.size()) - 1))]));
      }
    }
    const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    EXPECT_LT(seconds, 10) << name;  // none takes 1 without a sanitizer
    std::printf("%-36s %-8s %.3f s\n", name.c_str(), good ? "made" : "refused", seconds);
  }
}

TEST(JsonSchema, ToolCalls) {
  const Json weather = parse_json(R"({"type":"object","properties":{"city":{"$ref":"#/$defs/c"}},"required":["city"],
                                      "$defs":{"c":{"type":"string","maxLength":5}}})",
                                  "x")
                           .value();
  GrammarSpec spec{.tools = {{"weather", weather, "t0"}, {"now", nullptr, "t1"}}, .tagged = true, .where = "tools"};
  auto tagged = grammar_of(spec);
  EXPECT_TRUE(
      takes(*tagged, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bonn\"}}\n</tool_call>"));
  EXPECT_TRUE(takes(*tagged, "<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>"));
  EXPECT_FALSE(takes(*tagged, "<tool_call>{\"name\":\"weather\",\"arguments\":{}}</tool_call>"));
  EXPECT_FALSE(takes(*tagged, "<tool_call>{\"name\":\"other\",\"arguments\":{}}</tool_call>"));
  const std::string call = "<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>";
  EXPECT_FALSE(takes(*tagged, call + "\n" + call));
  spec.several = true;
  EXPECT_TRUE(takes(*grammar_of(spec), call + "\n" + call + call));
  spec.tagged = spec.several = false;
  EXPECT_TRUE(takes(*grammar_of(spec), R"({"name": "weather", "parameters": {"city": ""}})"));
  spec.tools[1].parameters = {{"type", "string"}};
  EXPECT_FALSE(make_grammar(spec).ok());
}

}  // namespace
}  // namespace throughline

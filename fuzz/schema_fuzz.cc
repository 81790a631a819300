// rooms: base text grammar
// Parses any bytes as a JSON schema and makes its grammar; spells a text in it, guided by the bytes. Nothing may crash,
// hang or use much memory; an error is one line; what was spelt to its end is JSON. Seeds: fuzz/corpus/schema.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "grammar/json_schema.h"
#include "grammar/token_grammar.h"

namespace {

using throughline::TokenTrie;

std::shared_ptr<const TokenTrie> vocabulary() {
  static const auto trie = [] {
    std::vector<std::string> tokens;
    for (int c = 0; c < 256; ++c) tokens.emplace_back(1, static_cast<char>(c));
    for (const char* more :
         {"{\"", "\":", "\",", "\"}", "[]", "}]", ", ", "true", "null", "ab", "-1", ".5", "\xC3\xA9", "\\n"})
      tokens.emplace_back(more);
    return std::make_shared<const TokenTrie>(std::move(tokens));
  }();
  return trie;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto schema = throughline::parse_json(text, "schema");
  if (!schema.ok()) return 0;
  auto made = throughline::make_grammar({.schema = *schema, .where = "schema"});
  if (!made.ok()) {
    if (made.error().what.empty() || made.error().line().find('\n') != std::string::npos) std::abort();
    return 0;
  }
  throughline::TokenGrammar grammar(std::move(made).value(), vocabulary());
  throughline::TokenGrammar::State state;
  std::string spelt;
  uint64_t random = size;
  for (int step = 0; step < 100; ++step) {
    const auto [ids, may_end] = grammar.next(state);
    if (may_end && !throughline::Json::accept(spelt)) std::abort();
    if (ids->bits.empty()) break;
    std::vector<int32_t> can;
    for (int32_t id = 0; id < static_cast<int32_t>(vocabulary()->tokens.size()); ++id) {
      if (ids->has(id)) can.push_back(id);
    }
    random = random * 6364136223846793005U + data[static_cast<size_t>(step) % size];
    const int32_t id = can[(random >> 33) % can.size()];
    if (!grammar.accept(state, id)) std::abort();
    spelt += vocabulary()->tokens[static_cast<size_t>(id)];
  }
  return 0;
}

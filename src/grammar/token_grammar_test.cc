#include "grammar/token_grammar.h"

#include "grammar/grammar_compiler.h"
#include "grammar/grammar_test_kit.h"

namespace throughline {
namespace {

const char* const kPerson =
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":9},"tags":{"type":"array",
    "items":{"enum":["a","ab","abc"]}},"age":{"type":"integer","minimum":0,"maximum":150}},"required":["name","age"]})";

TEST(TokenTrie, HoldsEveryToken) {
  const TokenTrie& trie = *test_vocabulary();
  std::vector<std::string> spelt(trie.tokens.size());
  std::vector<std::pair<int32_t, std::string>> todo = {{0, ""}};
  for (size_t i = 0; i < todo.size(); ++i) {
    const auto [node, text] = todo[i];
    for (int32_t k = trie.first_id[node]; k < trie.first_id[node + 1]; ++k) spelt[trie.ids[k]] = text;
    for (int32_t child = trie.first_child[node]; child < trie.first_child[node + 1]; ++child)
      todo.emplace_back(child, text + static_cast<char>(trie.byte[child]));
  }
  EXPECT_EQ(todo.size(), trie.byte.size());
  EXPECT_EQ(spelt, trie.tokens);
}

// Each set against what accept() says of every id, along random texts.
TEST(TokenGrammar, SetsAreWhatIsAccepted) {
  const auto grammar = grammar_of(parse_json(kPerson, "x").value());
  CounterStream random(5, 0, RngPurpose::kTest);
  for (int round = 0; round < 10; ++round) {
    TokenGrammar::State state;
    for (int step = 0; step < 40; ++step) {
      const auto ids = grammar->next(state).ids;
      std::vector<int32_t> can;
      for (int32_t id = 0; id < static_cast<int32_t>(test_vocabulary()->tokens.size()); ++id) {
        TokenGrammar::State copy = state;
        const bool accepted = grammar->accept(copy, id);
        ASSERT_EQ(accepted, !ids->bits.empty() && ids->has(id)) << id;
        if (accepted) can.push_back(id);
      }
      if (can.empty()) break;
      grammar->accept(state, can[static_cast<size_t>(random.integer(0, static_cast<int64_t>(can.size()) - 1))]);
    }
  }
}

TEST(TokenGrammar, TellsTheEnd) {
  const auto grammar = grammar_of(parse_json(R"({"type":"integer","maximum":99,"minimum":0})", "x").value());
  TokenGrammar::State state;
  EXPECT_FALSE(grammar->next(state).may_end);
  EXPECT_FALSE(grammar->accept(state, 'x'));
  ASSERT_TRUE(grammar->accept(state, '4'));
  EXPECT_TRUE(grammar->next(state).may_end);
  EXPECT_FALSE(grammar->must_end(state));
  ASSERT_TRUE(grammar->accept(state, '2'));
  EXPECT_TRUE(grammar->next(state).may_end);
  EXPECT_TRUE(grammar->next(state).ids->bits.empty());
  EXPECT_TRUE(grammar->must_end(state));
}

// A text deep enough that another automaton takes over on the way; the sets stay the same.
TEST(TokenGrammar, ForgettingChangesNothing) {
  const Json schema =
      parse_json(R"({"type":"array","items":{"anyOf":[{"$ref":"#"},{"type":"integer"}]}})", "x").value();
  const auto grammar = grammar_of(schema), fresh = grammar_of(schema);
  TokenGrammar::State state, copy;
  for (int i = 0; i < 20000; ++i) ASSERT_TRUE(grammar->accept(state, '['));
  TokenGrammar::State first;
  ASSERT_TRUE(grammar->accept(first, '['));
  const auto kept = state.automaton;
  EXPECT_NE(kept, nullptr);
  for (int i = 0; i < 20000; ++i) {
    if (i % 4000 == 1) {
      EXPECT_EQ(grammar->next(state).ids->bits, fresh->next(copy).ids->bits);
    }
    ASSERT_TRUE(grammar->accept(state, ']'));
    if (i == 0) {
      for (const char c : std::string("[[]")) ASSERT_TRUE(fresh->accept(copy, c));
    }
  }
  EXPECT_TRUE(grammar->must_end(state));
  EXPECT_FALSE(grammar->must_end(first));
}

// Ways grow without bound as texts get longer: the walk stops early, and what is left can always be spelt on.
TEST(TokenGrammar, AmbiguityIsCut) {
  const Json schema = {{"type", "string"}, {"pattern", "^(([ab]{0,300}a[ab]{0,300}){0,3}|[ab]{5,900})*$"}};
  const auto grammar = grammar_of(schema);
  ASSERT_NE(grammar, nullptr);
  TokenGrammar::State state;
  ASSERT_TRUE(grammar->accept(state, '"'));
  for (int i = 0; i < 50; ++i) {
    const auto next = grammar->next(state);
    ASSERT_FALSE(next.ids->bits.empty());
    ASSERT_TRUE(next.ids->has('a') || next.ids->has('b') || next.ids->has('"'));
    if (!grammar->accept(state, i % 3 == 0 ? 'a' : 'b')) break;
  }
}

TEST(GrammarCompiler, SharesEqualSpecs) {
  int asked = 0;
  GrammarCompiler compiler([&] {
    ++asked;
    return test_vocabulary()->tokens;
  });
  const auto one = compiler.compile({.schema = true, .where = "a"}).value();
  EXPECT_EQ(compiler.compile({.schema = true, .where = "b"}).value(), one);
  EXPECT_NE(compiler.compile({.schema = {{"type", "null"}}, .where = "a"}).value(), one);
  EXPECT_FALSE(compiler.compile({.schema = false, .where = "a"}).ok());
  for (size_t i = 0; i < GrammarCompiler::kKept; ++i)
    ASSERT_TRUE(compiler.compile({.schema = {{"const", i}}, .where = "a"}).ok());
  EXPECT_NE(compiler.compile({.schema = true, .where = "a"}).value(), one);  // forgotten
  EXPECT_EQ(asked, 1);
}

TEST(GrammarCompiler, RefusesWhatTheVocabularyCannotWrite) {
  GrammarCompiler compiler([] { return std::vector<std::string>{"a", "b", "1"}; });
  const auto made = compiler.compile({.schema = {{"type", "object"}}, .where = "here"});
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().where, "here");
  EXPECT_TRUE(compiler.compile({.schema = {{"const", 11}}, .where = "here"}).ok());
}

}  // namespace
}  // namespace throughline

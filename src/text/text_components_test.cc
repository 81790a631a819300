// Normalisers, pre-tokenisers and decoders by themselves, against Hugging Face `tokenizers`; and the small parts below
// them.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "text/added_tokens.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/regex.h"
#include "text/tokenizer_test_data.h"
#include "text/unicode.h"

namespace throughline {
namespace {

using testing_data::must;
using testing_data::read_json;
using testing_data::source_path;

class Components : public testing::Test {
 protected:
  const Json golden_ = read_json(source_path("tests/golden/text/components.json"));
};

TEST_F(Components, Normalizers) {
  ASSERT_GE(golden_["normalizers"].size(), 15u);
  for (const Json& entry : golden_["normalizers"]) {
    const Normalizer normalizer = must(Normalizer::from_json(entry[0], "normalizer"));
    for (size_t i = 0; i < golden_["texts"].size(); ++i) {
      NormalizedText text{golden_["texts"][i].get<std::string>()};
      normalizer.apply(text);
      EXPECT_EQ(text.text, entry[1][i].get<std::string>()) << entry[0] << " of " << golden_["texts"][i];
    }
  }
}

TEST_F(Components, PreTokenizers) {
  ASSERT_GE(golden_["pre_tokenizers"].size(), 40u);
  for (const Json& entry : golden_["pre_tokenizers"]) {
    const PreTokenizer pre_tokenizer = must(PreTokenizer::from_json(entry[0], "pre_tokenizer"));
    for (size_t i = 0; 2 * i < golden_["texts"].size(); ++i) {
      const auto text = golden_["texts"][2 * i].get<std::string>();
      Words words{text, {{0, text.size(), true}}};
      pre_tokenizer.apply(words);
      std::vector<std::string> pieces;
      for (const auto& span : words.spans) pieces.push_back(words.text.substr(span.begin, span.end - span.begin));
      EXPECT_EQ(pieces, entry[1][i].get<std::vector<std::string>>()) << entry[0] << " of " << golden_["texts"][2 * i];
    }
  }
}

TEST_F(Components, Decoders) {
  ASSERT_GE(golden_["decoders"].size(), 10u);
  for (const Json& entry : golden_["decoders"]) {
    const PieceDecoder decoder = must(PieceDecoder::from_json(entry[0], "decoder"));
    for (size_t i = 0; i < golden_["pieces"].size(); ++i) {
      std::string out;
      PieceDecoder::Run run(decoder);
      for (const Json& piece : golden_["pieces"][i]) run.put(piece.get<std::string>(), out);
      run.finish(out);
      EXPECT_EQ(out, entry[1][i].get<std::string>()) << entry[0] << " of " << golden_["pieces"][i];
    }
  }
}

TEST(Utf8, ReplacesMaximalSubparts) {  // the table of Unicode 3.9, "U+FFFD Substitution of Maximal Subparts"
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(replace_invalid_utf8("a\xF1\x80\x80\xE1\x80\xC2"
                                 "b\x80"
                                 "c\x80\xBF"
                                 "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_invalid_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), r + r + r + r + r + "A" + r + r + "B");
  EXPECT_TRUE(next_code_point("\xF0\x9F\x99", 0).cut);
  EXPECT_FALSE(next_code_point("\xF0\x9F\x41", 0).cut);
}

RC_GTEST_PROP(Utf8, EveryCodePointGoesThereAndBack, ()) {
  const auto code = *rc::gen::inRange<uint32_t>(0, 0x110000);
  std::string text;
  append_utf8(text, code);
  const Utf8Step step = next_code_point(text, 0);
  RC_ASSERT(step.valid);
  RC_ASSERT(static_cast<size_t>(step.size) == text.size());
  RC_ASSERT(step.code == (code >= 0xD800 && code < 0xE000 ? kReplacementCharacter : code));
}

RC_GTEST_PROP(Utf8, RepairedTextIsValid, (std::string bytes)) {
  const std::string repaired = replace_invalid_utf8(bytes);
  RC_ASSERT(is_valid_utf8(repaired));
  RC_ASSERT(replace_invalid_utf8(repaired) == repaired);
}

TEST(Regex, CatastrophicPatternsEnd) {
  const Regex nested = must(Regex::compile("(a+)+$", "test"));
  const std::string text = std::string(5000, 'a') + "b";
  EXPECT_LE(nested.find_all(text).size(), text.size());
  const Regex backreference = must(Regex::compile(R"((x+x+)+\1y)", "test"));
  EXPECT_TRUE(backreference.find_all(std::string(3000, 'x')).empty());
}

TEST(Regex, LongRunsOfRealTextAreNotCutShort) {
  const Regex regex = must(
      Regex::compile(R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)", "test"));
  for (const char* unit : {" ", "a", "\n", ".", "1", "\t "}) {
    std::string text = "x";
    while (text.size() < 300000) text += unit;
    text += "y";
    size_t covered = 0;
    for (const TextRange& match : regex.find_all(text)) covered += match.end - match.begin;
    EXPECT_EQ(covered, text.size()) << '"' << unit << '"';
  }
}

TEST(Regex, BadPatternsAreErrors) {
  for (const std::string pattern : {"(", "[a", "a{3,1}(", "(?<=a+b*)c\\", "\\p{Nonsense}", "(?<n>a)\\k<m>"}) {
    EXPECT_FALSE(Regex::compile(pattern, "test").ok()) << pattern;
  }
  EXPECT_FALSE(Regex::compile(std::string(20000, 'a'), "test").ok());
  EXPECT_FALSE(Regex::compile(std::string(5000, '('), "test").ok());
}

TEST(Unicode, ManyMarksAreNotQuadratic) {
  std::string marks = "a";
  for (int i = 0; i < 100000; ++i) marks += i % 2 ? "\xCC\x81" : "\xCC\xA7";  // U+0301 (230), U+0327 (202)
  const std::string normal = normalize_unicode(marks, NormalForm::kC);
  EXPECT_EQ(normal, normalize_unicode(normal, NormalForm::kC));
}

RC_GTEST_PROP(AddedTokens, SplitFindsTheLeftmostLongest, ()) {
  const auto letters = rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab")));
  const auto text = *letters;
  auto contents = *rc::gen::container<std::set<std::string>>(rc::gen::nonEmpty(rc::gen::resize(4, letters)));
  std::vector<AddedToken> tokens;
  for (const std::string& content : contents) tokens.push_back({content, static_cast<int32_t>(tokens.size())});
  const AddedTokens added = must(AddedTokens::build(tokens, Normalizer(), "test"));
  std::vector<AddedTokens::Part> parts;
  added.split(text, false, true, parts);
  std::vector<int32_t> found, expected;
  for (const auto& part : parts) found.push_back(part.id);
  bool in_text = false;
  for (size_t at = 0; at < text.size();) {
    const AddedToken* best = nullptr;
    for (const AddedToken& token : tokens) {
      if (text.compare(at, token.content.size(), token.content) == 0 &&
          (!best || token.content.size() > best->content.size()))
        best = &token;
    }
    if (best != nullptr) {
      expected.push_back(best->id);
    } else if (!in_text) {
      expected.push_back(-1);
    }
    in_text = best == nullptr;
    at += best != nullptr ? best->content.size() : 1;
  }
  RC_ASSERT(found == expected);
}

}  // namespace
}  // namespace throughline

// Tokenizers against Hugging Face `tokenizers` (tools/make_tokenizer_goldens.py) and against llama.cpp's test vectors.
#include <gtest/gtest.h>

#include <sstream>

#include "text/stream_decoder.h"
#include "text/tokenizer_test_data.h"

namespace throughline {
namespace {

using testing_data::load_tokenizer;
using testing_data::must;
using testing_data::read_json;
using testing_data::source_path;
using testing_data::tokenizer_path;
using Ids = std::vector<int32_t>;

std::string decode_as_stream(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  StreamDecoder stream(tokenizer, skip_special);
  std::string out;
  for (const int32_t id : ids) {
    const std::string piece = stream.push(id);
    EXPECT_TRUE(is_valid_utf8(piece)) << "a split code point";
    out += piece;
  }
  return out + stream.flush();
}

class TokenizerGolden : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerGolden, EncodesAndDecodesAsHuggingFaceDoes) {
  const auto tokenizer = load_tokenizer(GetParam());
  const Json strings = read_json(source_path("tests/golden/text/strings.json"));
  const Json golden = read_json(source_path(std::string("tests/golden/text/tokenizer_") + GetParam() + ".json"));
  ASSERT_GE(strings.size(), 400u);
  ASSERT_EQ(golden["ids"].size(), strings.size());
  for (size_t i = 0; i < strings.size(); ++i) {
    const auto text = strings[i].get<std::string>();
    const auto ids = golden["ids"][i].get<Ids>();
    SCOPED_TRACE("string " + std::to_string(i) + ": " + strings[i].dump());
    EXPECT_EQ(tokenizer->encode(text), ids);
    EXPECT_EQ(tokenizer->encode(text, {.add_special_tokens = false, .parse_special = false}),
              golden["plain_ids"][i].get<Ids>());
    const Json& skipped = golden["text"][i];
    EXPECT_EQ(tokenizer->decode(ids, true), skipped.is_null() ? text : skipped.get<std::string>());
    const Json& all = golden["text_all"][i];
    EXPECT_EQ(tokenizer->decode(ids, false), all.is_null() ? text : all.get<std::string>());
    EXPECT_EQ(decode_as_stream(*tokenizer, ids, true), tokenizer->decode(ids, true));
    EXPECT_EQ(decode_as_stream(*tokenizer, ids, false), tokenizer->decode(ids, false));
  }
}

TEST_P(TokenizerGolden, DecodesAnyIdsAsHuggingFaceDoes) {
  const auto tokenizer = load_tokenizer(GetParam());
  const Json golden = read_json(source_path(std::string("tests/golden/text/tokenizer_") + GetParam() + ".json"));
  ASSERT_GE(golden["random_ids"].size(), 100u);
  for (size_t i = 0; i < golden["random_ids"].size(); ++i) {
    const auto ids = golden["random_ids"][i].get<Ids>();
    SCOPED_TRACE(golden["random_ids"][i].dump());
    EXPECT_EQ(tokenizer->decode(ids, true), golden["random_text"][i].get<std::string>());
    EXPECT_EQ(decode_as_stream(*tokenizer, ids, true), golden["random_text"][i].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden,
                         testing::Values("llama3", "llama2", "llama2_metaspace", "metaspace_lower", "words", "qwen2",
                                         "gpt2", "gpt_neox_20b"),
                         [](const auto& info) { return std::string(info.param); });

// 47 texts, and the ids of each on one line.
int count_right_vectors(const Tokenizer& tokenizer, const std::string& name) {
  const std::string texts = must(read_file(tokenizer_path("llamacpp_vectors/all.inp")));
  std::istringstream lines(must(read_file(tokenizer_path("llamacpp_vectors/" + name + ".out"))));
  const std::string separator = "\n__ggml_vocab_test__\n";
  int right = 0;
  for (size_t at = 0, number = 0; at <= texts.size(); ++number) {
    const size_t end = std::min(texts.find(separator, at), texts.size());
    std::string line;
    std::getline(lines, line);  // the last text is empty, and so has no line
    std::istringstream words(line);
    const Ids expected{std::istream_iterator<int32_t>(words), std::istream_iterator<int32_t>()};
    const Ids ids = tokenizer.encode(std::string_view(texts).substr(at, end - at), {.add_special_tokens = false});
    EXPECT_EQ(ids, expected) << name << ", text " << number;
    right += ids == expected;
    at = end + separator.size();
  }
  return right;
}

TEST(LlamaCppVectors, Gpt2) { EXPECT_EQ(count_right_vectors(*load_tokenizer("gpt2"), "gpt-2"), 47); }
TEST(LlamaCppVectors, Qwen2) { EXPECT_EQ(count_right_vectors(*load_tokenizer("qwen2"), "qwen2"), 47); }
TEST(LlamaCppVectors, GptNeoX) { EXPECT_EQ(count_right_vectors(*load_tokenizer("gpt_neox_20b"), "mpt"), 47); }

// R1-Distill-Qwen: Qwen2's base vocabulary in a tokenizer.json, other special tokens at the same ids, and a BOS.
TEST(LlamaCppVectors, DeepSeekR1DistillQwen) {
  const std::string merges_path = tokenizer_path("qwen2/merges.txt");
  std::string merges, added;
  for (const auto& [left, right] : must(parse_merges_text(must(read_file(merges_path)), merges_path))) {
    merges += (merges.empty() ? "" : ",") + Json(left + " " + right).dump();
  }
  const std::vector<std::pair<int, const char*>> tokens = {
      {151643, "<｜end▁of▁sentence｜>"},   {151644, "<｜User｜>"}, {151645, "<｜Assistant｜>"},
      {151646, "<｜begin▁of▁sentence｜>"}, {151648, "<think>"},    {151649, "</think>"}};
  for (const auto& [id, content] : tokens) {
    const bool special = content[1] != 't' && content[1] != '/';
    added += (added.empty() ? "" : ",") +
             Json{{"id", id}, {"content", content}, {"special", special}, {"normalized", false}}.dump();
  }
  const std::string pattern =
      Json(
          R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")
          .dump();
  const std::string text = R"({"version": "1.0", "added_tokens": [)" + added +
                           R"(], "normalizer": {"type": "NFC"}, "pre_tokenizer":
      {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": )" +
                           pattern + R"(}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]}, "post_processor": null,
      "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": )" +
                           testing_data::vocabulary_of_merges(merges_path, {}) + R"(, "merges": [)" + merges + "]}}";
  const std::string config = R"({"add_bos_token": true, "add_eos_token": false, "tokenizer_class": "LlamaTokenizerFast",
      "bos_token": {"__type": "AddedToken", "content": "<｜begin▁of▁sentence｜>", "normalized": true},
      "eos_token": {"__type": "AddedToken", "content": "<｜end▁of▁sentence｜>", "normalized": true}})";
  const auto tokenizer = must(Tokenizer::from_json(text, config, "r1"));
  EXPECT_EQ(count_right_vectors(*tokenizer, "deepseek-r1-qwen"), 47);
  EXPECT_EQ(tokenizer->bos_id(), 151646);
  EXPECT_EQ(tokenizer->eos_id(), 151643);
  EXPECT_EQ(tokenizer->token_id("</think>"), 151649);
  EXPECT_FALSE(tokenizer->is_special(151649));
  EXPECT_EQ(tokenizer->encode("<｜User｜>2<｜Assistant｜><think>\n"), (Ids{151646, 151644, 17, 151645, 151648, 198}));
}

TEST(Stories260k, DecodesItsPublishedStoryAndEncodesAsLlama2c) {
  const auto tokenizer = must(Tokenizer::load(source_path("models/stories260K")));
  EXPECT_EQ(tokenizer->vocab_size(), 512);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  // The first ids of golden_greedy.json, and the text that llama2.c publishes for them.
  const Ids ids = {1,   403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401,
                   396, 267, 337, 410, 408, 419, 292, 411, 322, 265, 282, 295, 433, 426, 385, 328, 432, 358,
                   394, 261, 370, 432, 352, 266, 268, 388, 426, 338, 391, 266, 267, 337, 335, 312, 432, 398,
                   312, 286, 267, 414, 270, 333, 415, 426, 13,  438, 310, 439, 419, 357, 336};
  const std::string text =
      "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a "
      "big, red ball. "
      "She wanted to play with it, but it was too high.\nLily's mom said";
  EXPECT_EQ(tokenizer->decode(ids, true), text);
  EXPECT_EQ(tokenizer->encode("Once upon a time"), (Ids{1, 403, 407, 261, 378}));
  EXPECT_EQ(tokenizer->encode(text.substr(0, text.find('\n')))[5], 432);
  EXPECT_EQ(tokenizer->encode("~é🙂"), (Ids{1, 410, 510, 485, 3 + 0xF0, 3 + 0x9F, 3 + 0x99, 3 + 0x82}));
}

TEST(Stories260k, DecodesTheWholeGoldenRun) {
  const std::string path = source_path("../shared/data/models/stories260K/golden_greedy.json");
  if (!file_exists(path)) GTEST_SKIP() << "no " << path;
  const auto tokenizer = must(Tokenizer::load(source_path("models/stories260K")));
  const Json golden = read_json(path);
  auto text = golden["text"].get<std::string>();
  for (size_t at; (at = text.find("<0x0A>")) != std::string::npos;) text.replace(at, 6, "\n");
  const auto ids = golden["tokens"].get<Ids>();
  EXPECT_EQ(" " + tokenizer->decode(ids, true), text);
  EXPECT_EQ(" " + decode_as_stream(*tokenizer, ids, true), text);
}

}  // namespace
}  // namespace throughline

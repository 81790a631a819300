#include "train/trace_line.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>

#include "text/tokenizer.h"

namespace throughline {
namespace {

TraceLine example() {
  TraceLine line;
  line.step = 3;
  line.index = 17;
  line.group = 2;
  line.task = "iterate_map";
  line.prompt = "a line\nand a \"quote\", then ,\"chunks\":[";
  line.gold = "7";
  line.reward = 1;
  line.advantage = -0.25;
  line.verdict = "right";
  line.finish_reason = "stop";
  line.finish_detail = "eos";
  line.tokens = 5;
  line.weight_version = 3;
  line.chunks.push_back({.prompt_ids = {1, 2},
                         .token_ids = {5, 6, 7},
                         .forced = {{1, 2}},
                         .text = "aéb",
                         .token_ends = {1, 3, 4},
                         .weight_version = 3});
  line.chunks.push_back({.prompt_ids = {1, 2, 5, 7},
                         .token_ids = {8, 9},
                         .text = "",
                         .carried_tokens = 2,
                         .head_tokens = 1,
                         .weight_version = 4});
  return line;
}

TEST(TraceLine, ReadsWhatItWrote) {
  const std::string text = write_trace_line(example());
  EXPECT_EQ(text.find('\n'), std::string::npos);
  const auto read = parse_trace_line(text, "t line 1");
  ASSERT_TRUE(read.ok()) << read.error().line();
  EXPECT_EQ(write_trace_line(*read), text);
  EXPECT_EQ(read->chunks[0].forced, (std::vector<std::pair<int64_t, int64_t>>{{1, 2}}));
  EXPECT_EQ(read->chunks[1].carried_tokens, 2);
  EXPECT_EQ(read->chunks[1].weight_version, 4);
}

TEST(TraceLine, TheSummaryNeedsNoChunks) {
  std::string text = write_trace_line(example());
  const auto summary = parse_trace_summary(text, "t line 1");
  ASSERT_TRUE(summary.ok()) << summary.error().line();
  EXPECT_EQ(summary->prompt, example().prompt);  // what looks like the key inside a string is not taken for it
  EXPECT_EQ(summary->advantage, -0.25);
  text[text.find("\"prompt_ids\":[1") + 14] = '?';  // damage among the chunks is not looked at here
  EXPECT_TRUE(parse_trace_summary(text, "t").ok());
  EXPECT_FALSE(parse_trace_line(text, "t").ok());
  text.resize(text.size() - 9);  // but a line that does not end is
  EXPECT_FALSE(parse_trace_summary(text, "t").ok());
}

TEST(TraceLine, AnotherOrderOfKeysAndMissingOnesAreRead) {
  const auto summary = parse_trace_summary(R"({"chunks":[{"token_ids":[4]}],"extra":[1],"reward":0,"step":2})", "t");
  ASSERT_TRUE(summary.ok()) << summary.error().line();
  EXPECT_EQ(summary->step, 2);
  EXPECT_TRUE(std::isnan(summary->advantage));
}

TEST(TraceLine, NotANumberIsNull) {
  TraceLine line = example();
  line.reward = std::numeric_limits<double>::infinity();
  const std::string text = write_trace_line(line);
  EXPECT_NE(text.find("\"reward\":null"), std::string::npos);
  EXPECT_TRUE(std::isnan(parse_trace_line(text, "t")->reward));
}

TEST(TraceLine, ErrorsNameTheField) {
  const auto error = [](const std::string& text) {
    const auto read = parse_trace_line(text, "t.jsonl line 4");
    return read.ok() ? std::string("accepted") : read.error().line();
  };
  const auto chunk = [&](const std::string& fields) {
    return error(R"({"step":1,"reward":0,"chunks":[{"prompt_ids":[1],"token_ids":[2,3],"text":"é",)" + fields + "}]}");
  };
  EXPECT_EQ(error(R"({"reward":1,"chunks":[]})"), "t.jsonl line 4: trace.step: is missing");
  EXPECT_EQ(error(R"({"step":1,"reward":1})"), "t.jsonl line 4: trace.chunks: is missing");
  EXPECT_EQ(error(R"({"step":1,"reward":"high","chunks":[]})"), "t.jsonl line 4: trace.reward: must be a number");
  EXPECT_EQ(error("[]"), "t.jsonl line 4: trace: must be an object");
  EXPECT_EQ(chunk(R"("forced":[[1,3]])"),
            "t.jsonl line 4: chunks[0].forced: must hold ascending pairs [from, to) within the chunk's 2 tokens");
  EXPECT_NE(chunk(R"("forced":[[1,2],[0,1]])").find("ascending"), std::string::npos);
  EXPECT_NE(chunk(R"("forced":[[-1,2]])").find("ascending"), std::string::npos);
  EXPECT_NE(chunk(R"("token_ends":[1,2])").find("whole characters"), std::string::npos);
  EXPECT_NE(chunk(R"("token_ends":[2])").find("1 entries for 2 tokens"), std::string::npos);
  EXPECT_NE(chunk(R"("token_ends":[2,9])").find("ascend"), std::string::npos);
  EXPECT_NE(chunk(R"("carried_tokens":2)").find("outside 0..1"), std::string::npos);
  EXPECT_NE(chunk(R"("carried_tokens":1,"head_tokens":2)").find("head_tokens"), std::string::npos);
  EXPECT_NE(error(R"({"step":1,"reward":0,"chunks":[{"token_ids":[2147483648]}]})").find("token_ids"),
            std::string::npos);
  EXPECT_EQ(chunk(R"("token_ends":[0,2],"carried_tokens":1)"), "accepted");
}

RC_GTEST_PROP(TraceLine, DamageIsAnErrorOrALineAndNeverACrash, ()) {
  std::string text = write_trace_line(example());
  const int edits = *rc::gen::inRange(1, 6);
  for (int i = 0; i < edits; ++i) {
    const auto at = static_cast<size_t>(*rc::gen::inRange<int>(0, static_cast<int>(text.size())));
    if (*rc::gen::arbitrary<bool>()) {
      text[at] = *rc::gen::element('0', '9', '-', '[', ']', '{', '}', '"', ',', ':', '\\', '\xff', 'e', '.');
    } else {
      text.erase(at, static_cast<size_t>(*rc::gen::inRange(1, 8)));
    }
  }
  const auto read = parse_trace_line(text, "t");
  if (read.ok()) RC_ASSERT(parse_trace_line(write_trace_line(*read), "t").ok());
  (void)parse_trace_summary(text, "t");
}

// A byte-level vocabulary of five single bytes, so that characters of two bytes are two tokens.
constexpr const char* kTokenizer = R"({"version":"1.0","added_tokens":[
  {"id":5,"content":"</think>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
  "normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
  "post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
  "model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2,"Ã":3,"©":4},"merges":[]}})";

TEST(TraceLine, TextsOfATraceEndTokensAtWholeCharacters) {
  const auto tokenizer = Tokenizer::from_json(kTokenizer, "", "test");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().line();
  Trace trace;
  trace.query_ids = {0, 1};
  trace.chunks.push_back({.prompt_ids = {0, 1}, .token_ids = {2, 3, 4, 1, 3}, .forced = {{0, 1}}, .weight_version = 6});
  trace.chunks.push_back({.prompt_ids = {0, 1, 2, 1, 3}, .token_ids = {5, 0}, .weight_version = 7});
  trace.finish = FinishDetail::kEos;
  TraceLine line;
  set_trace(line, trace, /*head_tokens=*/1, tokenizer->get());
  EXPECT_EQ(line.tokens, 7);
  EXPECT_EQ(line.finish_reason, "stop");
  EXPECT_EQ(line.finish_detail, "eos");
  EXPECT_EQ(line.weight_version, 6);
  ASSERT_EQ(line.chunks.size(), 2u);
  EXPECT_EQ(line.chunks[0].text, "céb\uFFFD");  // the chunk ends within a character
  EXPECT_EQ(line.chunks[0].token_ends, (std::vector<int64_t>{1, 1, 3, 4, 7}));
  EXPECT_EQ(line.chunks[0].carried_tokens, 0);
  EXPECT_EQ(line.chunks[0].head_tokens, 0);
  EXPECT_EQ(line.chunks[1].text, "</think>a");
  EXPECT_EQ(line.chunks[1].token_ends, (std::vector<int64_t>{8, 9}));
  EXPECT_EQ(line.chunks[1].carried_tokens, 3);
  EXPECT_EQ(line.chunks[1].head_tokens, 1);
  const auto read = parse_trace_line(write_trace_line(line), "t");
  ASSERT_TRUE(read.ok()) << read.error().line();
  EXPECT_EQ(write_trace_line(*read), write_trace_line(line));
}

}  // namespace
}  // namespace throughline

#include "cli/request_line.h"

#include <gtest/gtest.h>

#include "cache/policy.h"
#include "cli/model_options.h"

namespace throughline {
namespace {

constexpr const char* kWhere = "in.jsonl line 3";

// A line goes through all that judges it: the parser, the template and tokenizer, and the engine.
class RequestLineTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ModelOptions options;
    options.model = THROUGHLINE_SOURCE_DIR "/models/stories260K";
    options.kv_memory = "1M";
    options.threads = 1;
    auto model = load_model(options);
    ASSERT_TRUE(model.ok()) << model.error().line();
    model_ = std::move(model).value();
  }
  static void TearDownTestSuite() { model_.reset(); }

  static std::string error_of(const std::string& text) {
    const auto line = parse_request_line(text, {policy_infos(), environment_infos()}, kWhere);
    if (!line.ok()) return line.error().line();
    auto request = request_of(*model_, *line, line->fields, kWhere);
    if (!request.ok()) return request.error().line();
    const auto ticket = model_->engine->submit(std::move(request).value(), kWhere);
    return ticket.ok() ? "" : ticket.error().line();
  }

  static inline std::unique_ptr<LoadedModel> model_;
};

struct BadLine {
  std::string text;
  std::string field;   // named right behind the place; "": the line as a whole
  std::string reason;  // a part of what it says
};

std::string nested(int depth) {
  return R"({"prompt":"x","tools":)" + std::string(depth, '[') + std::string(depth, ']') + "}";
}

std::string many_ids(int count) {
  std::string ids = "1";
  for (int i = 1; i < count; ++i) ids += ",1";
  return R"({"prompt_ids":[)" + ids + "]}";
}

const std::vector<BadLine>& bad_lines() {
  static const std::vector<BadLine> lines = {
      // Not JSON, or not an object.
      {"", "", "invalid JSON"},
      {"{", "", "invalid JSON"},
      {"nonsense", "", "invalid JSON"},
      {R"({"prompt":"x"} {"prompt":"y"})", "", "invalid JSON"},
      {"{\"prompt\":\"\xff\xfe\"}", "", "invalid JSON"},
      {"{\"prompt\":\"\xed\xa0\x80\"}", "", "invalid JSON"},  // a surrogate in UTF-8
      {"{\"prompt\":\"a\tb\"}", "", "invalid JSON"},
      {R"({"prompt":"\ud800"})", "", "invalid JSON"},
      {nested(70), "", "nested deeper than"},
      {R"({"prompt":"x","prompt":"y"})", "", "duplicate key \"prompt\""},
      {R"({"prompt":"x","temperature":NaN})", "", "invalid JSON"},
      {R"({"prompt":"x","temperature":1e999})", "", "invalid JSON"},
      {"[1,2]", "", "is not a JSON object"},
      {"\"prompt\"", "", "is not a JSON object"},
      // Prompts.
      {"{}", "", "has no prompt"},
      {R"({"id":"a","prompt":null})", "", "has no prompt"},
      {R"({"prompt":"x","prompt_ids":[1]})", "", "more than one prompt"},
      {R"({"prompt":7})", "prompt", "must be a string"},
      {R"({"prompt_ids":[]})", "", "no tokens"},
      {R"({"prompt_ids":[1,512]})", "prompt_ids", "512 is not in the vocabulary"},
      {R"({"prompt_ids":[-1]})", "prompt_ids", "whole number from 0"},
      {R"({"prompt_ids":[1.5]})", "prompt_ids", "whole number from 0"},
      {R"({"prompt_ids":[4294967297]})", "prompt_ids", "whole number from 0"},
      {R"({"prompt_ids":"1 2"})", "prompt_ids", "list of token ids"},
      {many_ids(600), "", "exceeds the context of 512"},
      {R"({"messages":[]})", "messages", "list of objects"},
      {R"({"messages":[{"content":"x"}]})", "messages", "with a \"role\""},
      {R"({"messages":[{"role":"user","content":"x"}]})", "messages", "no chat template"},
      {R"({"prompt":"x","tools":{}})", "tools", "list of tools"},
      {R"({"prompt":"x","chat_template_kwargs":[]})", "chat_template_kwargs", "must be an object"},
      // Fields.
      {R"({"id":1.5,"prompt":"x"})", "id", "a string or a whole number"},
      {R"({"id":["a"],"prompt":"x"})", "id", "a string or a whole number"},
      {R"({"prompt":"x","max_token":1})", "", "unknown key \"max_token\""},
      {R"({"prompt":"x","max_tokens":0})", "max_tokens", "whole number from 1"},
      {R"({"prompt":"x","max_tokens":"5"})", "max_tokens", "whole number from 1"},
      {R"({"prompt":"x","max_tokens":1e300})", "max_tokens", "whole number from 1"},
      {R"({"prompt":"x","max_tokens":18446744073709551615})", "max_tokens", "whole number from 1"},
      {R"({"prompt":"x","temperature":-0.1})", "temperature", "out of range"},
      {R"({"prompt":"x","temperature":"hot"})", "temperature", "must be a number"},
      {R"({"prompt":"x","temperature":1e300})", "temperature", "out of range"},
      {R"({"prompt":"x","top_p":0})", "top_p", "out of range"},
      {R"({"prompt":"x","top_p":1.01})", "top_p", "out of range"},
      {R"({"prompt":"x","top_k":-2})", "top_k", "whole number from -1"},
      {R"({"prompt":"x","min_p":1})", "min_p", "out of range"},
      {R"({"prompt":"x","seed":0.5})", "seed", "must be a whole number"},
      {R"({"prompt":"x","stop":[1]})", "stop", "list of strings"},
      {R"({"prompt":"x","stop":""})", "stop", "is empty"},
      {R"({"prompt":"x","stop_token_ids":[512]})", "stop_token_ids", "not in the vocabulary"},
      {R"({"prompt":"x","ignore_eos":1})", "ignore_eos", "true or false"},
      {R"({"prompt":"x","logprobs":-1})", "logprobs", "whole number from 0"},
      {R"({"prompt":"x","logprobs":513})", "logprobs", "out of range"},
      {R"({"prompt":"x","repetition_penalty":0})", "repetition_penalty", "out of range"},
      {R"({"prompt":"x","presence_penalty":2.5})", "presence_penalty", "out of range"},
      {R"({"prompt":"x","frequency_penalty":[]})", "frequency_penalty", "must be a number"},
      {R"({"prompt":"x","logit_bias":{"a":1}})", "logit_bias", "\"a\" is not a token id"},
      {R"({"prompt":"x","logit_bias":{"512":1}})", "logit_bias", "not in the vocabulary"},
      {R"({"prompt":"x","n":0})", "n", "whole number from 1 to 1024"},
      // Specs.
      {R"({"prompt":"x","kv":"lru"})", "kv", "lru"},
      {R"({"prompt":"x","kv":7})", "kv", ""},
      {R"({"prompt":"x","kv":"rpc:intervall=5"})", "kv", "no option \"intervall\""},
      {R"({"prompt":"x","kv":"rpc:ratio=0.5"})", "kv: ratio", "out of range"},
      {R"({"prompt":"x","kv":"h2o:budget=64"})", "kv", "needs the option \"recent\""},
      {R"({"prompt":"x","kv":{"interval":5}})", "kv", "method"},
      {R"({"prompt":"x","think":"delethink:chunk=64,carry=64,head=8"})", "think", "is not less than chunk"},
      {R"({"prompt":"x","think":"delethink:chunk=64,carry=32,head=40"})", "think", "is more than carry"},
      {R"({"prompt":"x","think":"longcot:max_thinking=-5"})", "think: max_thinking", ""},
      {R"({"prompt":"x","think":"delethink:chunk=1000,carry=900,head=8"})", "", "exceeds the context"},
  };
  return lines;
}

TEST_F(RequestLineTest, EveryBadLineGetsOneLineThatNamesPlaceAndField) {
  for (const auto& bad : bad_lines()) {
    SCOPED_TRACE(bad.text.substr(0, 100));
    const std::string error = error_of(bad.text);
    ASSERT_FALSE(error.empty()) << "was accepted";
    const std::string place = std::string(kWhere) + ": " + (bad.field.empty() ? "" : bad.field + ": ");
    EXPECT_EQ(error.substr(0, place.size()), place) << error;
    EXPECT_NE(error.find(bad.reason), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    EXPECT_LT(error.size(), 700U) << error;
  }
}

TEST_F(RequestLineTest, WhatJavaScriptAndPythonWriteIsTaken) {
  for (const char* text : {
           R"({"prompt":"x","max_tokens":16.0,"top_k":-1,"stop":null,"kv":null})",
           R"({"id":null,"prompt":"x","seed":-1})",
           R"({"id":18446744073709551615,"prompt":"x","seed":18446744073709551615})",
           R"({"prompt":"x","kv":{"method":"rpc","interval":"1K","ratio":2.5},"think":{"method":"longcot"}})",
           R"({"prompt":"x","stop":"end","stop_token_ids":[1,2],"logit_bias":{"5":-100},"n":2,"logprobs":0})",
       }) {
    EXPECT_EQ(error_of(text), "") << text;
  }
}

TEST_F(RequestLineTest, ALinesOwnFieldsWinOverTheFlags) {
  const KnownSpecs known{policy_infos(), environment_infos()};
  const auto line = parse_request_line(R"({"prompt":"x","top_p":0.5,"kv":"tova:budget=64"})", known, kWhere);
  ASSERT_TRUE(line.ok());
  RequestFields flags;
  flags.top_p = 0.9;
  flags.max_tokens = 7;
  const RequestFields fields = line->fields.over(flags);
  EXPECT_EQ(fields.top_p, 0.5);
  EXPECT_EQ(fields.max_tokens, 7);
  EXPECT_EQ(fields.kv->to_string(), "tova:budget=64");
  EXPECT_FALSE(fields.temperature.has_value());
}

TEST_F(RequestLineTest, ABadLinesIdIsReadAsFarAsItCanBe) {
  EXPECT_EQ(request_id(R"({"id":"a","bad":1})"), Json("a"));
  EXPECT_EQ(request_id(R"({"id":7,"prompt":[]})"), Json(7));
  EXPECT_EQ(request_id(R"({"id":[7]})"), Json(nullptr));
  EXPECT_EQ(request_id(R"({"id":"a")"), Json(nullptr));
  EXPECT_EQ(request_id("7"), Json(nullptr));
}

}  // namespace
}  // namespace throughline

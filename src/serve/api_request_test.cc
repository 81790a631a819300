#include "serve/api_request.h"

#include <gtest/gtest.h>

#include <ctime>

#include "cache/policy.h"
#include "serve/responses_request.h"
#include "think/environment.h"

namespace throughline::serve {
namespace {

Result<ApiRequest> parse(ApiKind kind, const std::string& body) {
  return parse_api_request(kind, body, {policy_infos(), environment_infos()});
}
Result<ApiRequest> chat(const std::string& fields) {
  return parse(ApiKind::kChat,
               R"({"messages":[{"role":"user","content":"hi"}])" + (fields.empty() ? "" : "," + fields) + "}");
}
Result<ApiRequest> completion(const std::string& fields) {
  return parse(ApiKind::kCompletion, R"({"prompt":"hi")" + (fields.empty() ? "" : "," + fields) + "}");
}

TEST(ApiRequest, ReadsWhatOpenAiClientsSend) {
  const auto api =
      chat(R"("model":"m","max_completion_tokens":7,"temperature":0.5,"top_p":0.9,"n":2,"stop":"x","seed":5,
    "stream":true,"stream_options":{"include_usage":true},"presence_penalty":1,"frequency_penalty":0.5,
    "logit_bias":{"5":-100},"logprobs":true,"top_logprobs":3,"user":"u","metadata":{"a":"b"},"response_format":{"type":"text"},
    "modalities":["text"],"tool_choice":"auto","reasoning_effort":"low")");
  ASSERT_TRUE(api.ok()) << api.error().line();
  EXPECT_EQ(api->model, "m");
  EXPECT_EQ(api->fields.max_tokens, 7);
  EXPECT_EQ(api->fields.n, 2);
  EXPECT_EQ(api->fields.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(api->fields.logprobs, 3);
  EXPECT_EQ(api->fields.logit_bias->at(5), -100);
  EXPECT_TRUE(api->stream && api->include_usage);
  EXPECT_EQ(api->template_options["reasoning_effort"], "low");
}

TEST(ApiRequest, PriorityIsASmallWholeNumber) {
  EXPECT_EQ(chat("")->priority, 0);
  EXPECT_EQ(chat(R"("priority":-3)")->priority, -3);
  for (const char* bad : {"9", "-9", "0.5", "\"high\"", "true", "1e30"}) {
    const auto api = chat(std::string(R"("priority":)") + bad);
    ASSERT_FALSE(api.ok()) << bad;
    EXPECT_EQ(field_of(api.error()), "priority");
  }
}

TEST(ApiRequest, TextPartsAreJoinedAndOthersRefused) {
  const auto parts = parse(ApiKind::kChat, R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},
                                              {"type":"text","text":"b"}]},{"role":"assistant","content":null}]})");
  ASSERT_TRUE(parts.ok()) << parts.error().line();
  EXPECT_EQ(parts->messages[0]["content"], "ab");
  EXPECT_EQ(parts->messages[1]["content"], "");
  const auto image = parse(
      ApiKind::kChat, R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]})");
  ASSERT_FALSE(image.ok());
  EXPECT_EQ(field_of(image.error()), "messages[0].content");
  EXPECT_NE(message_of(image.error()).find("image_url"), std::string::npos);
}

TEST(ApiRequest, PromptsInAllFourForms) {
  const auto prompts = [](const std::string& value) {
    return parse(ApiKind::kCompletion, R"({"prompt":)" + value + "}");
  };
  EXPECT_EQ(std::get<std::string>(prompts(R"("x")")->prompts[0]), "x");
  EXPECT_EQ(prompts(R"(["x","y"])")->prompts.size(), 2);
  EXPECT_EQ(std::get<std::vector<int32_t>>(prompts("[1,2,3]")->prompts[0]), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(prompts("[[1,2],[3]]")->prompts.size(), 2);
  for (const char* bad : {"[]", "5", "{}", "[[]]", "[1,\"a\"]", "[[1],2]", "[-1]", "[null]"})
    EXPECT_FALSE(prompts(bad).ok()) << bad;
}

TEST(ApiRequest, ThreeSpellingsOfTheThinkingBudget) {
  for (const char* spelling :
       {R"("thinking_token_budget":12)", R"("thinking_budget_tokens":12)",
        R"("thinking":{"type":"enabled","budget_tokens":12})", R"("reasoning":{"max_tokens":12})"}) {
    const auto api = chat(spelling);
    ASSERT_TRUE(api.ok()) << spelling << api.error().line();
    EXPECT_EQ(api->thinking_budget, 12) << spelling;
  }
  EXPECT_FALSE(chat(R"("thinking_token_budget":-1)")->thinking_budget);
  EXPECT_EQ(chat(R"("thinking":{"type":"disabled"})")->template_options["enable_thinking"], false);
  EXPECT_EQ(chat(R"("enable_thinking":false)")->template_options["enable_thinking"], false);
}

TEST(ApiRequest, ExtrasAreOurOwn) {
  const auto api = chat(R"("throughline":{"progress":true,"kv_events":[0,2],"chunks":true},"kv":"rpc:interval=64",
                           "think":{"method":"delethink","chunk":128,"carry":64,"head":8})");
  ASSERT_TRUE(api.ok()) << api.error().line();
  EXPECT_TRUE(api->extras.progress && api->extras.chunks && api->extras.kv_events);
  EXPECT_EQ(api->extras.layers, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(api->fields.kv->method, "rpc");
  EXPECT_EQ(api->fields.think->integer("chunk"), 128);
}

TEST(ApiRequest, NoNewTokensOnlyToLookAtThePrompt) {
  EXPECT_TRUE(completion(R"("max_tokens":0,"echo":true,"logprobs":1)")->no_new_tokens);
  EXPECT_EQ(field_of(completion(R"("max_tokens":0)").error()), "max_tokens");
  EXPECT_EQ(field_of(chat(R"("max_tokens":0)").error()), "max_tokens");
  EXPECT_TRUE(completion(R"("max_tokens":-1)")->unlimited);
}

TEST(ApiRequest, EveryErrorNamesItsField) {
  const std::pair<const char*, const char*> bad[] = {
      {R"("temperature":"hot")", "temperature"},
      {R"("max_tokens":1.5)", "max_tokens"},
      {R"("max_tokens":-2)", "max_tokens"},
      {R"("n":0)", "n"},
      {R"("stop":[1])", "stop"},
      {R"("seed":"x")", "seed"},
      {R"("stream":1)", "stream"},
      {R"("stream_options":{"include_usage":true})", "stream_options"},
      {R"("stream":true,"stream_options":{"nonsense":true})", "stream_options.nonsense"},
      {R"("logit_bias":{"x":1})", "logit_bias"},
      {R"("top_logprobs":5)", "top_logprobs"},
      {R"("logprobs":true,"top_logprobs":21)", "top_logprobs"},
      {R"("response_format":{"type":"json_schema"})", "response_format"},
      {R"("response_format":{"type":"json_schema","json_schema":{"schema":{},"strict":1}})",
       "response_format.json_schema.strict"},
      {R"("response_format":{"type":"json_object"},"json_schema":{})", "json_schema"},
      {R"("tool_choice":{"type":"function","function":{"name":"g"}},"tools":[{"type":"function","function":{"name":"f"}}])",
       "tool_choice"},
      {R"("response_format":{"type":"xml"})", "response_format.type"},
      {R"("tools":[{"type":"magic"}])", "tools[0]"},
      {R"("tool_choice":"required")", "tool_choice"},
      {R"("kv":"lru")", "kv"},
      {R"("think":"delethink:chunk=0")", "think"},
      {R"("throughline":{"colour":true})", "throughline.colour"},
      {R"("temprature":1)", "temprature"},
      {R"("best_of":2)", "best_of"},
      {R"("best_of":-1)", "best_of"},
      {R"("best_of":3,"n":2)", "best_of"},
      {R"("functions":[{}])", "functions"},
      {R"("continue_final_message":true)", "continue_final_message"},
      {R"("timeout":0)", "timeout"},
      {R"("modalities":["audio"])", "modalities"},
  };
  for (const auto& [fields, name] : bad) {
    const auto api = chat(fields);
    ASSERT_FALSE(api.ok()) << fields;
    EXPECT_EQ(field_of(api.error()), name) << api.error().line();
    EXPECT_EQ(message_of(api.error()).find('\n'), std::string::npos);
  }
  EXPECT_EQ(field_of(parse(ApiKind::kChat, "{}").error()), "messages");
  EXPECT_EQ(field_of(parse(ApiKind::kChat, R"({"messages":[]})").error()), "messages");
  EXPECT_EQ(field_of(parse(ApiKind::kChat, R"({"messages":[{"role":"user","content":5}]})").error()),
            "messages[0].content");
  EXPECT_EQ(field_of(parse(ApiKind::kCompletion, "{}").error()), "prompt");
  EXPECT_FALSE(parse(ApiKind::kChat, "[]").ok());
  EXPECT_FALSE(parse(ApiKind::kChat, "").ok());
}

TEST(ApiRequest, ErrorsOfSpecsNameTheOption) {
  for (const auto& [fields, place] : std::vector<std::pair<const char*, std::string>>{
           {R"("kv":"rpc:interval=16,ratio=0,window=4")", "kv: ratio: 0 is out of range"},
           {R"("kv":{"method":"rpc","ratio":0})", "kv: ratio: 0 is out of range"},
           {R"("think":"delethink:chunk=64,carry=-1")", "think: carry: -1 is out of range"}}) {
    const auto api = chat(fields);
    ASSERT_FALSE(api.ok()) << fields;
    EXPECT_EQ(message_of(api.error()).substr(0, place.size()), place);
    EXPECT_EQ(field_of(api.error()), place.substr(0, place.find(':')));
  }
}

TEST(ApiRequest, ExamplesOfSpecsWorkWhereTheyAreGiven) {
  for (const std::string field : {"kv", "think"}) {
    const std::string message = message_of(chat("\"" + field + "\":5").error());
    const size_t at = message.find('"');
    ASSERT_NE(at, std::string::npos) << message;
    EXPECT_TRUE(chat("\"" + field + "\":" + message.substr(at)).ok()) << message;
  }
}

TEST(ApiRequest, BestOfMayRepeatN) {
  for (const char* fields : {R"("best_of":1)", R"("best_of":2,"n":2)", R"("best_of":null,"n":2)"})
    EXPECT_TRUE(chat(fields).ok() && completion(fields).ok()) << fields;
}

// Hundreds of thousands of names in one object: quadratic work held a thread for minutes.
TEST(ApiRequest, HugeObjectsCostLittle) {
  constexpr int kMany = 200000;
  Json biases = Json::array();
  Json::object_t names;
  for (int i = 0; i < kMany; ++i) {
    biases.push_back({i, -1});
    names.emplace_back("key" + std::to_string(i), i);
  }
  const std::string list = dump_json(biases), object = dump_json(Json(names));
  const std::clock_t begin = std::clock();  // processor time: the machine may be busy
  const auto biased = completion(R"("logit_bias":)" + list);
  ASSERT_TRUE(biased.ok()) << biased.error().line();
  EXPECT_EQ(biased->fields.logit_bias->size(), kMany);
  const auto options =
      chat(R"("enable_thinking":false,"chat_template_kwargs":)" + object + R"(,"reasoning_effort":"low")");
  ASSERT_TRUE(options.ok()) << options.error().line();
  EXPECT_EQ(options->template_options.size(), kMany + 2);
  const auto response = chat_of_responses(R"({"input":"hi",)" + object.substr(1));
  ASSERT_TRUE(response.ok()) << response.error().line();
  EXPECT_EQ(response->chat.size(), kMany + 1);
  EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 20);
}

TEST(ApiRequest, TheLastWordOnTheTemplateCounts) {
  const auto enabled = [](const std::string& fields) { return chat(fields)->template_options["enable_thinking"]; };
  EXPECT_EQ(enabled(R"("enable_thinking":false,"chat_template_kwargs":{"enable_thinking":true})"), true);
  EXPECT_EQ(enabled(R"("chat_template_kwargs":{"enable_thinking":true},"enable_thinking":false)"), false);
  EXPECT_EQ(enabled(R"("enable_thinking":false,"chat_template_kwargs":{"more":1})"), false);
}

TEST(ApiRequest, CandidatesAreLimited) {
  EXPECT_EQ(completion(R"("logprobs":20)")->fields.logprobs, 20);
  EXPECT_EQ(completion(R"("logprobs":true)")->fields.logprobs, 1);
  EXPECT_EQ(chat(R"("prompt_logprobs":20)")->prompt_logprobs, 20);
  for (const auto& [api, field] : {std::pair(completion(R"("logprobs":21)"), "logprobs"),
                                   std::pair(completion(R"("prompt_logprobs":21)"), "prompt_logprobs"),
                                   std::pair(chat(R"("prompt_logprobs":21)"), "prompt_logprobs"),
                                   std::pair(chat(R"("logprobs":true,"top_logprobs":21)"), "top_logprobs")}) {
    ASSERT_FALSE(api.ok()) << field;
    EXPECT_EQ(message_of(api.error()),
              std::string(field) +
                  ": 21 is over this server's limit of 20; ask for fewer, or serve with a higher --max-logprobs");
  }
  const KnownSpecs known{policy_infos(), environment_infos()};
  EXPECT_EQ(parse_api_request(ApiKind::kCompletion, R"({"prompt":"a","logprobs":50})", known, 50)->fields.logprobs, 50);
  EXPECT_FALSE(parse_api_request(ApiKind::kCompletion, R"({"prompt":"a","logprobs":true})", known, 0).ok());
}

TEST(ApiRequest, NullIsLeftOut) {
  const auto api = chat(R"("max_tokens":null,"stop":null,"tools":null,"stream_options":null,"response_format":null)");
  ASSERT_TRUE(api.ok()) << api.error().line();
  EXPECT_FALSE(api->fields.max_tokens);
}

}  // namespace
}  // namespace throughline::serve

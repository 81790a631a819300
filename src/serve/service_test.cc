#include "serve/service.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>

namespace throughline::serve {
namespace {

// A service without sockets over one of the shipped models.
class ServiceTest : public testing::Test {
 protected:
  void start(const std::string& model, const std::function<void(ServiceOptions&)>& change = {},
             DriverOptions driver = {}, EngineOptions engine = {.kv_memory_bytes = 4 << 20, .batch_max = 8}) {
    stop();
    auto loaded = LoadedModel::load(std::filesystem::path(THROUGHLINE_SOURCE_DIR "/models") / model, {}, engine);
    ASSERT_TRUE(loaded.ok()) << loaded.error().line();
    model_ = std::move(loaded).value();
    ServiceOptions options{.model_name = model, .version = "test"};
    if (change) change(options);
    driver_ = std::make_unique<EngineDriver>(model_->engine.get(), driver, &log_);
    service_ = std::make_unique<Service>(model_.get(), driver_.get(), options, &log_);
  }
  void stop() {
    if (service_) service_->active().cancel_all(FinishDetail::kCancelled);
    driver_.reset();
    service_.reset();
  }
  void TearDown() override { stop(); }

  Answer send(const std::string& path, const Json& body, Headers headers = {}) {
    HttpRequest request;
    request.method = body.is_null() ? "GET" : "POST";
    request.path = path;
    request.headers = std::move(headers);
    if (!body.is_null()) request.body = dump_json(body);
    return service_->handle(request);
  }

  // Waits as a connection does.
  struct Waiter {
    explicit Waiter(Reply& reply) {
      reply.set_wake([this] {
        const std::lock_guard lock(mutex);
        ready = true;
        changed.notify_one();
      });
    }
    bool wait() {
      std::unique_lock lock(mutex);
      const bool came = changed.wait_for(lock, std::chrono::seconds(60), [this] { return ready; });
      ready = false;
      return came;
    }
    std::mutex mutex;
    std::condition_variable changed;
    bool ready = false;
  };

  HttpResponse whole(Answer answer) {
    if (!answer.later) return answer.now;
    Waiter waiter(*answer.later);
    while (true) {
      if (auto response = answer.later->poll()) return *response;
      if (!waiter.wait()) return error_response(599, "no answer in a minute");
    }
  }
  Json ask(const std::string& path, const Json& body, int status = 200) {
    const HttpResponse response = whole(send(path, body));
    EXPECT_EQ(response.status, status) << response.body;
    return parse_json(response.body, path).value();
  }
  // The chunks of a stream, [DONE] left out.
  std::vector<Json> stream(const std::string& path, Json body) {
    body["stream"] = true;
    Answer answer = send(path, body);
    EXPECT_TRUE(answer.later) << answer.now.body;
    if (!answer.later) return {};
    Waiter waiter(*answer.later);
    std::string text;
    while (!answer.later->pull(text)) {
      if (!waiter.wait()) break;
    }
    std::vector<Json> out;
    size_t at = 0;
    bool done = false;
    while (at < text.size()) {
      const size_t end = text.find("\n\n", at);
      const std::string line = text.substr(at, end - at);
      EXPECT_EQ(line.substr(0, 6), "data: ");
      at = end + 2;
      if (line == "data: [DONE]") {
        done = true;
      } else {
        EXPECT_FALSE(done);
        out.push_back(parse_json(line.substr(6), "chunk").value());
      }
    }
    EXPECT_TRUE(done);
    return out;
  }
  static Json user(const std::string& text) { return Json::array({{{"role", "user"}, {"content", text}}}); }

  ServerLog log_{LogLevel::kOff, true};
  std::unique_ptr<LoadedModel> model_;
  std::unique_ptr<EngineDriver> driver_;
  std::unique_ptr<Service> service_;
};

TEST_F(ServiceTest, CandidatesAreLimitedOnEveryRoute) {
  start("stories260K", [](ServiceOptions& options) { options.max_logprobs = 3; });
  const Json completion = {{"prompt", "Once"}, {"max_tokens", 1}, {"logprobs", 3}};
  EXPECT_EQ(ask("/v1/completions", completion)["choices"][0]["logprobs"]["top_logprobs"][0].size(), 3);
  const std::tuple<const char*, const char*, Json> routes[] = {
      {"/v1/completions", "logprobs", {{"prompt", "Once"}}},
      {"/v1/chat/completions", "top_logprobs", {{"messages", user("Once")}}},
      {"/v1/responses", "top_logprobs", {{"input", "Once"}}}};
  for (const auto& [path, logprobs, body] : routes) {
    for (const char* field : {logprobs, "prompt_logprobs"}) {
      Json too_many = body;
      too_many[field] = 4;
      EXPECT_EQ(ask(path, too_many, 400)["error"]["param"], field) << path;
    }
  }
}

TEST_F(ServiceTest, AForcingTextMayHoldACommaBesideABudget) {
  start("stories260K");
  for (const char* text : {"Wait, no", "Wait,max_forces=99"}) {
    const Json answer = ask("/v1/completions", {{"prompt", "Once"},
                                                {"max_tokens", 2},
                                                {"thinking_token_budget", 100},
                                                {"think", {{"method", "force"}, {"min_thinking", 5}, {"text", text}}}});
    const std::string think = answer["throughline"]["choices"][0]["think"];
    const auto spec = parse_spec(think, environment_infos(), "answer");
    ASSERT_TRUE(spec.ok()) << think;
    EXPECT_EQ(spec->text("text"), text);
    EXPECT_EQ(spec->integer("max_thinking"), 100);
    EXPECT_EQ(spec->integer("max_forces"),
              parse_spec("force:min_thinking=5", environment_infos(), "x")->integer("max_forces"));
  }
}

TEST_F(ServiceTest, ChatStreamedAndWholeSayTheSame) {
  start("stories260K");
  const Json body = {{"messages", user("Once upon a time")},
                     {"max_tokens", 20},
                     {"temperature", 0},
                     {"logprobs", true},
                     {"top_logprobs", 2},
                     {"return_token_ids", true}};
  const Json whole = ask("/v1/chat/completions", body);
  const Json& choice = whole["choices"][0];
  EXPECT_EQ(whole["object"], "chat.completion");
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(whole["usage"]["completion_tokens"], 20);
  EXPECT_EQ(whole["throughline"]["choices"][0]["finish_detail"], "max_tokens");
  std::string joined;
  for (const auto& entry : choice["logprobs"]["content"]) {
    EXPECT_EQ(entry["top_logprobs"].size(), 2);
    EXPECT_LE(entry["logprob"].get<double>(), 0);
    joined += entry["token"].get<std::string>();
  }
  EXPECT_EQ(joined, choice["message"]["content"]);
  EXPECT_EQ(choice["logprobs"]["content"].size(), 20);

  Json streamed = body;
  streamed["stream_options"] = {{"include_usage", true}};
  const auto chunks = stream("/v1/chat/completions", streamed);
  ASSERT_GE(chunks.size(), 4);
  EXPECT_EQ(chunks[0]["choices"][0]["delta"], (Json{{"role", "assistant"}, {"content", nullptr}}));
  EXPECT_EQ(chunks[0]["prompt_token_ids"], whole["prompt_token_ids"]);
  std::string text;
  std::vector<int32_t> ids;
  for (const auto& chunk : chunks) {
    EXPECT_EQ(chunk["id"], chunks[0]["id"]);
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_EQ(chunk["created"], chunks[0]["created"]);
    if (chunk["choices"].empty()) continue;
    const Json& delta = chunk["choices"][0]["delta"];
    if (delta.contains("content") && delta["content"].is_string()) text += delta["content"].get<std::string>();
    if (chunk["choices"][0].contains("token_ids"))
      for (const auto& id : chunk["choices"][0]["token_ids"]) ids.push_back(id);
  }
  EXPECT_EQ(text, choice["message"]["content"]);
  EXPECT_EQ(Json(ids), choice["token_ids"]);
  const Json& last = chunks[chunks.size() - 2];
  EXPECT_EQ(last["choices"][0]["delta"], Json::object());
  EXPECT_EQ(last["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(chunks.back()["choices"], Json::array());
  EXPECT_EQ(chunks.back()["usage"]["total_tokens"], whole["usage"]["total_tokens"]);
}

TEST_F(ServiceTest, ThinkingIsSplitOffAndItsBudgetIsExact) {
  start("iterate_map");
  const std::string puzzle = "ab bd ce dc ea;du3;24eu0";
  for (const int budget : {0, 1, 7, 20}) {
    Json body = {{"messages", user(puzzle)},
                 {"max_tokens", 200},
                 {"temperature", 0},
                 {"thinking_token_budget", budget},
                 {"return_token_ids", true}};
    const Json whole = ask("/v1/chat/completions", body);
    const Json& choice = whole["choices"][0];
    const auto close = *model_->tokenizer->token_id("</think>");
    const auto ids = choice["token_ids"].get<std::vector<int32_t>>();
    const auto at = std::find(ids.begin(), ids.end(), close) - ids.begin();
    EXPECT_EQ(at, budget);
    EXPECT_EQ(whole["usage"]["completion_tokens_details"]["reasoning_tokens"], budget);
    EXPECT_GT(choice["message"]["content"].get<std::string>().size(), 0);
    EXPECT_EQ(choice["message"]["reasoning"], choice["message"]["reasoning_content"]);
    EXPECT_EQ(choice["message"]["reasoning"].get<std::string>().find("think"), std::string::npos);
    std::string thinking, answer;
    for (const auto& chunk : stream("/v1/chat/completions", body)) {
      const Json delta = chunk["choices"][0]["delta"];
      if (delta.contains("reasoning")) thinking += delta["reasoning"].get<std::string>();
      if (delta.contains("content") && delta["content"].is_string()) answer += delta["content"].get<std::string>();
    }
    EXPECT_EQ(answer, choice["message"]["content"]);
    if (budget > 0) EXPECT_EQ(thinking, choice["message"]["reasoning"]);
  }
}

TEST_F(ServiceTest, ABudgetHoldsUnderDelethinkToo) {
  start("iterate_map");
  const Json whole = ask("/v1/chat/completions", {{"messages", user("ab bd ce dc ea;du3;24eu0")},
                                                  {"max_tokens", 300},
                                                  {"ignore_eos", true},
                                                  {"seed", 1},
                                                  {"thinking_token_budget", 100},
                                                  {"think", "delethink:chunk=64,carry=32,head=8,max_chunks=9"}});
  EXPECT_LE(whole["usage"]["completion_tokens_details"]["reasoning_tokens"].get<int>(), 100);
  EXPECT_GT(whole["choices"][0]["message"]["content"].get<std::string>().size(), 0);
}

TEST_F(ServiceTest, EventsOfChunksAndCompressions) {
  start("iterate_map");
  const Json body = {{"messages", user("ab bd ce dc ea;du3;24eu0")},
                     {"max_tokens", 200},
                     {"seed", 3},
                     {"ignore_eos", true},
                     {"kv", "rpc:interval=16,ratio=2,window=4"},
                     {"think", "delethink:chunk=64,carry=32,head=8,max_chunks=4"},
                     {"throughline", {{"progress", true}, {"chunks", true}, {"kv_events", true}}}};
  int64_t chunk_events = 0, kv_events = 0, boundary = 0;
  Json final = nullptr;
  for (const auto& chunk : stream("/v1/chat/completions", body)) {
    if (!chunk.contains("throughline")) continue;
    const Json& extra = chunk["throughline"];
    if (extra.contains("finish_detail")) final = extra;
    if (!extra.contains("events")) continue;
    for (const auto& event : extra["events"]) {
      if (event["type"] == "chunk") {
        EXPECT_EQ(event["chunk"], chunk_events++);
        if (event["chunk"] == 1) {
          EXPECT_EQ(event["at_token"], 64);
          EXPECT_EQ(event["head_tokens"], 8);
          EXPECT_EQ(event["carried_tokens"], 24);
          boundary = event["prompt_tokens"];
        }
      } else {
        ++kv_events;
        EXPECT_EQ(event["kept"].size(), model_->decoder->config().layers);  // rpc keeps one set a layer
        int64_t kept = 0;
        for (const auto& range : event["kept"][0]["ranges"]) kept += range[1].get<int64_t>() - range[0].get<int64_t>();
        EXPECT_EQ(kept, event["kept_tokens"]);
      }
    }
  }
  ASSERT_FALSE(final.is_null());
  EXPECT_EQ(chunk_events, static_cast<int64_t>(final["chunks"].size()));
  EXPECT_EQ(kv_events, final["kv"]["compressions"]);
  EXPECT_GT(kv_events, 0);
  EXPECT_EQ(final["chunks"][1]["prompt_tokens"], boundary);
  EXPECT_EQ(final["think"], "delethink:chunk=64,carry=32,max_chunks=4,head=8");
  // Without a stream the same events stand in the answer.
  const Json whole = ask("/v1/chat/completions", body);
  EXPECT_EQ(whole["throughline"]["choices"][0]["events"].size(), chunk_events + kv_events);
}

TEST_F(ServiceTest, CompletionsEchoAndScore) {
  start("stories260K");
  const auto prompt = model_->tokenizer->encode("Once upon a time");
  const Json scored = ask("/v1/completions", {{"prompt", Json::array({prompt, prompt})},
                                              {"max_tokens", 1},
                                              {"echo", true},
                                              {"logprobs", 1},
                                              {"temperature", 0}});
  ASSERT_EQ(scored["choices"].size(), 2);
  const Json& logprobs = scored["choices"][0]["logprobs"];
  ASSERT_EQ(logprobs["token_logprobs"].size(), prompt.size() + 1);
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  for (size_t i = 1; i < prompt.size(); ++i) {
    EXPECT_NEAR(logprobs["token_logprobs"][i].get<double>(),
                scored["choices"][1]["logprobs"]["token_logprobs"][i].get<double>(), 1e-5);
  }
  // What greedy decoding says at each place agrees with the scores of the same ids.
  const Json longer =
      ask("/v1/completions",
          {{"prompt", prompt}, {"max_tokens", 6}, {"logprobs", 1}, {"temperature", 0}, {"return_token_ids", true}});
  auto whole = prompt;
  for (const auto& id : longer["choices"][0]["token_ids"]) whole.push_back(id);
  const Json again = ask("/v1/completions", {{"prompt", whole}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 1}});
  const Json& all = again["choices"][0]["logprobs"]["token_logprobs"];
  ASSERT_EQ(all.size(), whole.size());
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(all[prompt.size() + i].get<double>(),
                longer["choices"][0]["logprobs"]["token_logprobs"][i].get<double>(), 1e-4);
  }
  EXPECT_EQ(again["usage"]["completion_tokens"], 0);
  EXPECT_EQ(again["choices"][0]["text"], "Once upon a time" + longer["choices"][0]["text"].get<std::string>());
  // Text goes on from the prompt's.
  EXPECT_EQ(longer["choices"][0]["text"].get<std::string>()[0], ',');
}

TEST_F(ServiceTest, ManyPromptsAndSamplesInOrder) {
  start("stories260K");
  const Json out = ask("/v1/completions",
                       {{"prompt", {"Lily", "Once", "Tom"}}, {"n", 2}, {"max_tokens", 5}, {"seed", 1}, {"echo", true}});
  ASSERT_EQ(out["choices"].size(), 6);
  const char* begin[] = {"Lily", "Lily", "Once", "Once", "Tom", "Tom"};
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(out["choices"][i]["index"], i);
    EXPECT_EQ(out["choices"][i]["text"].get<std::string>().find(begin[i]), 0);
  }
  EXPECT_EQ(out["usage"]["completion_tokens"], 30);
}

TEST_F(ServiceTest, StopStringsWithTheirReason) {
  start("stories260K");
  const Json plain = ask("/v1/completions", {{"prompt", "Once upon a time"}, {"max_tokens", 30}, {"temperature", 0}});
  const std::string text = plain["choices"][0]["text"];
  const std::string stop = text.substr(text.size() / 2, 3);
  const Json cut = ask("/v1/completions",
                       {{"prompt", "Once upon a time"}, {"max_tokens", 30}, {"temperature", 0}, {"stop", {stop}}});
  EXPECT_EQ(cut["choices"][0]["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(cut["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(cut["choices"][0]["stop_reason"], stop);
  std::string streamed;
  for (const auto& chunk :
       stream("/v1/completions",
              {{"prompt", "Once upon a time"}, {"max_tokens", 30}, {"temperature", 0}, {"stop", {stop}}}))
    streamed += chunk["choices"][0]["text"].get<std::string>();
  EXPECT_EQ(streamed, cut["choices"][0]["text"]);
}

TEST_F(ServiceTest, ResponsesSayWhatTheChatSays) {
  start("iterate_map");
  const std::string puzzle = "ab bd ce dc ea;du3;24eu0";
  const Json chat = ask("/v1/chat/completions", {{"messages", user(puzzle)}, {"max_tokens", 60}, {"temperature", 0}});
  const Json body = {{"input", puzzle}, {"max_output_tokens", 60}, {"temperature", 0}};
  const Json whole = ask("/v1/responses", body);
  ASSERT_EQ(whole["output"].size(), 2) << whole.dump();
  EXPECT_EQ(whole["object"], "response");
  const std::string status = chat["choices"][0]["finish_reason"] == "stop" ? "completed" : "incomplete";
  EXPECT_EQ(whole["status"], status);
  EXPECT_EQ(whole["output"][0]["content"][0]["text"], chat["choices"][0]["message"]["reasoning"]);
  EXPECT_EQ(whole["output"][1]["content"][0]["text"], chat["choices"][0]["message"]["content"]);
  EXPECT_EQ(whole["usage"]["output_tokens"], chat["usage"]["completion_tokens"]);

  Json streamed = body;
  streamed["stream"] = true;
  Answer answer = send("/v1/responses", streamed);
  ASSERT_TRUE(answer.later);
  Waiter waiter(*answer.later);
  std::string text;
  while (!answer.later->pull(text)) ASSERT_TRUE(waiter.wait());
  std::string said;
  Json last = nullptr;
  int64_t sequence = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t data = text.find("data: ", at), end = text.find("\n\n", at);
    const Json event = parse_json(text.substr(data + 6, end - data - 6), "event").value();
    EXPECT_EQ(text.substr(at, data - at), "event: " + event["type"].get<std::string>() + "\n");
    EXPECT_EQ(event["sequence_number"], sequence++);
    if (event["type"] == "response.output_text.delta") said += event["delta"].get<std::string>();
    last = event;
    at = end + 2;
  }
  EXPECT_EQ(said, chat["choices"][0]["message"]["content"]);
  EXPECT_EQ(last["type"], "response." + status);
  EXPECT_EQ(last["response"]["output"][1]["content"], whole["output"][1]["content"]);
  EXPECT_EQ(ask("/v1/responses", {{"input", "x"}, {"previous_response_id", "r"}}, 400)["error"]["param"],
            "previous_response_id");
  EXPECT_EQ(ask("/v1/responses", Json::object(), 400)["error"]["param"], "input");
}

TEST_F(ServiceTest, ErrorsAreTypedAndNameTheirField) {
  start("stories260K", [](ServiceOptions& options) {
    options.only_that_name = true;
    options.allowed_kv = {"full"};
  });
  EXPECT_EQ(ask("/v1/chat/completions", {{"messages", user("x")}, {"temperature", -1}}, 400)["error"]["param"],
            "temperature");
  EXPECT_EQ(ask("/v1/chat/completions", {{"messages", user("x")}, {"model", "other"}}, 404)["error"]["code"],
            "model_not_found");
  EXPECT_EQ(ask("/v1/chat/completions", {{"messages", user("x")}, {"kv", "rpc"}}, 400)["error"]["param"], "kv");
  Json ids = Json::array();
  for (int i = 0; i < 2000; ++i) ids.push_back(5);
  EXPECT_EQ(ask("/v1/completions", {{"prompt", ids}}, 400)["error"]["code"], "context_length_exceeded");
  EXPECT_EQ(ask("/v1/completions", {{"prompt", {1, 99999}}}, 400)["error"]["type"], "invalid_request_error");
  EXPECT_EQ(ask("/v1/nothing", {{"a", 1}}, 404)["error"]["type"], "not_found_error");
  EXPECT_EQ(ask("/v1/chat/completions", nullptr, 405)["error"]["type"], "invalid_request_error");
  const Json budget = {{"messages", user("a")}, {"max_tokens", 2}, {"thinking_token_budget", INT64_MAX}};
  EXPECT_EQ(ask("/v1/chat/completions", budget)["object"], "chat.completion");
  EXPECT_EQ(ask("/v1/completions", {{"prompt", {99999}}}, 400)["error"]["param"], "prompt");
  // Whatever was refused, nothing of it is left.
  EXPECT_EQ(driver_->state().open, 0);
}

TEST_F(ServiceTest, KeysStandBeforeEverythingButHealth) {
  start("stories260K", [](ServiceOptions& options) { options.api_keys = {"secret", "other"}; });
  for (const char* path : {"/v1/models", "/props", "/metrics", "/requests", "/version", "/slots", "/nothing"})
    EXPECT_EQ(send(path, nullptr).now.status, 401) << path;
  for (const char* path : {"/v1/chat/completions", "/tokenize", "/detokenize", "/apply-template", "/v1/abort"})
    EXPECT_EQ(send(path, Json::object()).now.status, 401) << path;
  EXPECT_EQ(send("/health", nullptr).now.status, 200);
  EXPECT_EQ(send("/v1/models", nullptr, {{"authorization", "Bearer secret"}}).now.status, 200);
  EXPECT_EQ(send("/v1/models", nullptr, {{"authorization", "Bearer other"}}).now.status, 200);
  EXPECT_EQ(send("/v1/models", nullptr, {{"x-api-key", "secret"}}).now.status, 200);
  for (const char* wrong : {"Bearer secre", "Bearer secrets", "Bearer ", "secret", "Bearer secretsecret"})
    EXPECT_EQ(send("/v1/models", nullptr, {{"authorization", wrong}}).now.status, 401) << wrong;
}

TEST_F(ServiceTest, NobodyIsMoreUrgentThanHisKeyAllows) {
  start("stories260K", [](ServiceOptions& options) {
    options.api_keys = {"plain", "fast"};
    options.priority_limit = 1;
    options.key_priority_limits = {{"fast", -4}};
  });
  const auto granted = [&](const std::string& key, int64_t priority) {
    const Json body = {{"messages", user("Once")}, {"max_tokens", 2}, {"priority", priority}};
    const HttpResponse response = whole(send("/v1/chat/completions", body, {{"authorization", "Bearer " + key}}));
    EXPECT_EQ(response.status, 200) << response.body;
    return parse_json(response.body, "answer").value()["throughline"]["choices"][0]["priority"].get<int64_t>();
  };
  EXPECT_EQ(granted("plain", -4), 1);
  EXPECT_EQ(granted("plain", 3), 3);
  EXPECT_EQ(granted("fast", -4), -4);
  EXPECT_EQ(granted("fast", -8), -4);
}

TEST_F(ServiceTest, CorsIsClosedUnlessOpened) {
  const auto allow_origin = [&](const std::string& origin) {
    const Answer answer = send("/v1/models", nullptr, {{"origin", origin}});
    for (const auto& [name, value] : answer.now.headers) {
      if (name == "Access-Control-Allow-Origin") return value;
    }
    return std::string();
  };
  start("stories260K");
  EXPECT_EQ(allow_origin("https://a.example"), "");
  start("stories260K", [](ServiceOptions& options) { options.cors_origins = {"https://a.example"}; });
  EXPECT_EQ(allow_origin("https://a.example"), "https://a.example");
  EXPECT_EQ(allow_origin("https://b.example"), "");
  // What a page of another origin asks is not even computed.
  const auto status = [&](const char* origin, const char* host) {
    return send("/tokenize", {{"prompt", "x"}}, {{"origin", origin}, {"host", host}}).now.status;
  };
  EXPECT_EQ(status("https://b.example", "127.0.0.1:8080"), 403);
  EXPECT_EQ(status("null", "127.0.0.1:8080"), 403);
  EXPECT_EQ(status("https://a.example", "127.0.0.1:8080"), 200);
  EXPECT_EQ(status("http://127.0.0.1:8080", "127.0.0.1:8080"), 200);
}

// A page whose name was made to lead to this machine says that name as its origin and as the host alike.
TEST_F(ServiceTest, PagesByForeignNamesMayNotCallALocalServer) {
  const auto status = [&](const std::string& name, Headers headers = {}) {
    headers.emplace_back("origin", "http://" + name);
    headers.emplace_back("host", name);
    return send("/tokenize", {{"prompt", "x"}}, headers).now.status;
  };
  start("stories260K", [](ServiceOptions& options) {
    options.local_pages_only = true;
    options.cors_origins = {"http://friend.example"};
  });
  for (const char* name : {"localhost", "localhost:8080", "chat.localhost:8080", "127.0.0.1:8080", "[::1]:8080"})
    EXPECT_EQ(status(name), 200) << name;
  for (const char* name : {"evil.example:8080", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example"})
    EXPECT_EQ(status(name, {{"x-forwarded-host", name}}), 403) << name;
  EXPECT_EQ(status("friend.example"), 200);
  EXPECT_EQ(send("/tokenize", {{"prompt", "x"}}, {{"host", "any.example"}}).now.status, 200);  // no page
  start("stories260K");
  EXPECT_EQ(status("our.example:8080"), 200);
}

TEST_F(ServiceTest, AFullQueueSaysWhenToTryAgain) {
  start("stories260K", {}, {.max_queue = 1}, {.kv_memory_bytes = 4 << 20, .batch_max = 1});
  const Json slow = {{"messages", user("Once")}, {"max_tokens", 400}, {"ignore_eos", true}};
  Answer first = send("/v1/chat/completions", slow), second = send("/v1/chat/completions", slow);
  ASSERT_TRUE(first.later && second.later);
  const Answer third = send("/v1/chat/completions", slow);
  ASSERT_FALSE(third.later);
  EXPECT_EQ(third.now.status, 429);
  bool told = false;
  for (const auto& [name, value] : third.now.headers) told = told || (name == "Retry-After" && std::stoi(value) >= 1);
  EXPECT_TRUE(told);
  EXPECT_EQ(ask("/v1/completions", {{"prompt", {"a", "b", "c"}}}, 400)["error"]["param"], "prompt");
  // Clients that leave make room.
  first.later->abandon();
  second.later->abandon();
  first.later.reset();
  second.later.reset();
  for (int i = 0; i < 1000 && driver_->state().open > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(driver_->state().open, 0);
  EXPECT_EQ(ask("/v1/chat/completions", {{"messages", user("Once")}, {"max_tokens", 3}})["usage"]["completion_tokens"],
            3);
}

TEST_F(ServiceTest, AbortByIdEndsTheAnswerProperly) {
  start("stories260K");
  Answer answer = send("/v1/chat/completions", {{"messages", user("Once")}, {"ignore_eos", true}, {"stream", true}});
  ASSERT_TRUE(answer.later);
  const Json list = ask("/requests", nullptr);
  ASSERT_EQ(list["requests"].size(), 1);
  const std::string id = list["requests"][0]["id"];
  HttpRequest abort;
  abort.method = "DELETE";
  abort.path = "/requests/" + id;
  EXPECT_EQ(service_->handle(abort).now.status, 200);
  Waiter waiter(*answer.later);
  std::string text;
  while (!answer.later->pull(text)) ASSERT_TRUE(waiter.wait());
  EXPECT_NE(text.find("\"finish_detail\":\"cancelled\""), std::string::npos);
  EXPECT_NE(text.find("data: [DONE]"), std::string::npos);
  answer.later.reset();
  EXPECT_EQ(service_->handle(abort).now.status, 404);
  EXPECT_EQ(ask("/requests", nullptr)["requests"].size(), 0);
}

TEST_F(ServiceTest, DeadlinesAndMemoryLeaveWhatWasSaid) {
  // KV memory for 96 tokens: a request without a limit gets what fits, and ends well.
  start("stories260K", {}, {}, {.kv_memory_bytes = 96 * 2 * 5 * 4 * 8 * 4, .batch_max = 2});
  const Json out = ask("/v1/chat/completions", {{"messages", user("Once upon a time")}, {"ignore_eos", true}});
  EXPECT_EQ(out["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(out["throughline"]["choices"][0]["finish_detail"], "max_tokens");
  EXPECT_EQ(out["throughline"]["choices"][0]["limited_by_kv_memory"], true);
  EXPECT_GT(out["usage"]["completion_tokens"].get<int>(), 30);
}

TEST_F(ServiceTest, TextRoutesSpeakBothDialects) {
  start("stories260K");
  const Json vllm = ask("/tokenize", {{"prompt", "Once upon"}});
  EXPECT_EQ(vllm["count"], vllm["tokens"].size());
  EXPECT_EQ(vllm["tokens"][0], 1);  // BOS
  const Json llama = ask("/tokenize", {{"content", "Once upon"}});
  EXPECT_EQ(llama["tokens"].size() + 1, vllm["tokens"].size());
  EXPECT_EQ(ask("/detokenize", {{"tokens", llama["tokens"]}})["content"], "Once upon");
  EXPECT_EQ(ask("/detokenize", {{"tokens", llama["tokens"]}})["prompt"], "Once upon");
  EXPECT_EQ(ask("/apply-template", {{"messages", user("hello")}})["prompt"], "<s>hello");
  EXPECT_EQ(ask("/tokenize", Json::object(), 400)["error"]["param"], "prompt");
  start("iterate_map");
  const Json rendered = ask("/apply-template", {{"messages", user("ab")}});
  EXPECT_EQ(rendered["prompt"], "ab\n<think>");
  EXPECT_EQ(rendered["opens_thinking"], true);
}

TEST_F(ServiceTest, TextRoutesShowWhatAChatWouldRead) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(testing::TempDir()) / "telling_template";
  fs::remove_all(folder);
  fs::copy(THROUGHLINE_SOURCE_DIR "/models/stories260K", folder);
  std::ofstream(folder / "chat_template.jinja")
      << "{{ enable_thinking }} {{ reasoning_effort }} {{ (tools or []) | length }} {{ messages[0].content }}";
  start(folder);
  const Json tool = {{"type", "function"}, {"function", {{"name", "f"}}}};
  for (const auto& [field, shown] : std::vector<std::pair<Json, std::string>>{
           {{{"enable_thinking", false}}, "False  0 hi"},
           {{{"thinking", {{"type", "disabled"}}}}, "False  0 hi"},
           {{{"reasoning", {{"effort", "low"}}}}, " low 0 hi"},
           {{{"tools", {tool}}}, "  1 hi"},
           {{{"tools", {tool}}, {"tool_choice", "none"}, {"max_tokens", 5}}, "  0 hi"}}) {
    Json body = field;
    body["messages"] = user("hi");
    const Json rendered = ask("/apply-template", body);
    EXPECT_EQ(rendered["prompt"], shown) << field;
    body["return_token_strs"] = true;
    EXPECT_EQ(ask("/tokenize", body)["count"], rendered["count"]) << field;
  }
  for (const char* path : {"/apply-template", "/tokenize"})
    EXPECT_EQ(ask(path, {{"messages", user("hi")}, {"nonsense", 1}}, 400)["error"]["param"], "nonsense") << path;
}

TEST_F(ServiceTest, WhatItSaysOfItself) {
  start("stories260K");
  EXPECT_EQ(ask("/v1/models", nullptr)["data"][0]["id"], "stories260K");
  EXPECT_EQ(ask("/health", nullptr)["status"], "ok");
  const Json props = ask("/props", nullptr);
  EXPECT_EQ(props["model"]["layers"], 5);
  EXPECT_EQ(props["kv"]["methods"].size(), policy_infos().size());
  EXPECT_EQ(props["think"]["allowed"][0], "longcot");
  ask("/v1/completions", {{"prompt", "Once"}, {"max_tokens", 3}, {"temperature", 0}});
  const std::string metrics = whole(send("/metrics", nullptr)).body;
  for (const char* line : {"throughline_generation_tokens_total 3\n", "throughline_requests_running ",
                           "vllm:num_requests_waiting 0\n", "throughline_requests_total{finish_reason=\"length\"} 1\n",
                           "throughline_time_to_first_token_seconds_count 1\n"})
    EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
  service_->begin_drain();
  EXPECT_EQ(send("/health", nullptr).now.status, 503);
  EXPECT_EQ(send("/v1/completions", {{"prompt", "x"}}).now.status, 503);
}

TEST_F(ServiceTest, RateLimitsAreForEachKey) {
  start("stories260K", [](ServiceOptions& options) {
    options.api_keys = {"a", "b"};
    options.requests_per_minute = 12;
  });
  const auto status = [&](const char* key) {
    return send("/tokenize", {{"prompt", "x"}}, {{"x-api-key", key}}).now.status;
  };
  EXPECT_EQ(status("a"), 200);
  EXPECT_EQ(status("a"), 200);
  EXPECT_EQ(status("a"), 429);
  EXPECT_EQ(status("b"), 200);
}

TEST(ConstantTime, Equality) {
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  EXPECT_TRUE(equal_in_constant_time("", ""));
  for (const char* other : {"", "ab", "abd", "abcabc", "abcd"}) EXPECT_FALSE(equal_in_constant_time("abc", other));
  EXPECT_FALSE(equal_in_constant_time("", "a"));
}

TEST_F(ServiceTest, AnswersAreWhatWasAskedFor) {
  start("stories260K");
  const Json schema = {
      {"type", "object"},
      {"properties", {{"ok", {{"type", "boolean"}}}, {"n", {{"type", "integer"}, {"maximum", 9}, {"minimum", 0}}}}},
      {"required", {"ok", "n"}}};
  Json body = {{"messages", user("Say it")},
               {"max_tokens", 120},
               {"response_format",
                {{"type", "json_schema"}, {"json_schema", {{"name", "x"}, {"strict", true}, {"schema", schema}}}}}};
  for (int seed = 0; seed < 4; ++seed) {
    body["seed"] = seed;
    const Json choice = ask("/v1/chat/completions", body)["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "stop");
    const Json value = parse_json(choice["message"]["content"].get<std::string>(), "answer").value();
    EXPECT_TRUE(value["ok"].is_boolean());
    EXPECT_TRUE(value["n"].is_number_integer());
    EXPECT_EQ(value.size(), 2);
  }
  body["response_format"]["json_schema"]["schema"] = {{"properties", {{"x", {{"not", true}}}}}};
  const Json error = ask("/v1/chat/completions", body, 400)["error"];
  EXPECT_EQ(error["param"], "response_format.json_schema.schema.properties.x");
  EXPECT_NE(error["message"].get<std::string>().find("\"not\""), std::string::npos);
}

TEST_F(ServiceTest, CallsAreForced) {
  start("stories260K");
  const Json tool = {
      {"type", "function"},
      {"function",
       {{"name", "add"},
        {"parameters", {{"type", "object"}, {"properties", {{"a", {{"type", "integer"}}}}}, {"required", {"a"}}}}}}};
  const Json other = {
      {"type", "function"},
      {"function", {{"name", "now"}, {"parameters", {{"type", "object"}, {"properties", Json::object()}}}}}};
  const Json body = {{"messages", user("Add")},
                     {"max_tokens", 200},
                     {"seed", 1},
                     {"tools", {tool, other}},
                     {"tool_choice", {{"type", "function"}, {"function", {{"name", "add"}}}}}};
  const Json choice = ask("/v1/chat/completions", body)["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls") << choice;
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1);
  const Json function = choice["message"]["tool_calls"][0]["function"];
  EXPECT_EQ(function["name"], "add");
  EXPECT_TRUE(parse_json(function["arguments"].get<std::string>(), "x").value()["a"].is_number_integer());
  Json any = body;
  any["tool_choice"] = "required";
  std::string reason;
  for (const auto& chunk : stream("/v1/chat/completions", any)) {
    if (!chunk["choices"].empty() && chunk["choices"][0]["finish_reason"].is_string())
      reason = chunk["choices"][0]["finish_reason"];
  }
  EXPECT_EQ(reason, "tool_calls");
}

}  // namespace
}  // namespace throughline::serve

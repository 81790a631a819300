// The bodies of the OpenAI-compatible routes, checked and typed: /v1/completions and /v1/chat/completions.
//
// Field names as OpenAI has them, and those of vLLM and llama-server that clients send; docs/server.md lists them.
// Every error names its field (`where` is "request: FIELD"). Fields that only matter to OpenAI's own service are
// ignored; unknown ones are errors. Torch-free: fuzz/serve_json_fuzz.cc. What needs the model (encoding, ids' range,
// context) is judged later. Values only; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/request_fields.h"
#include "grammar/json_schema.h"

namespace throughline::serve {

constexpr const char* kRequestWhere = "request";  // the place in all errors

// "priority", as vLLM has it: lower is more urgent. One step doubles or halves the request's share (Request::weight).
constexpr int64_t kMostPriority = 8;

constexpr int64_t kMaxLogprobs = 20;  // candidates a token; vLLM's default and OpenAI's limit

enum class ApiKind { kCompletion, kChat };

// What a client may ask to see beside the OpenAI fields ("throughline": {...}).
struct Extras {
  bool progress = false, chunks = false, kv_events = false;
  std::vector<int64_t> layers;  // of the KV events; empty: all
};

struct ApiRequest {
  ApiKind kind = ApiKind::kChat;
  std::string model;  // as the client named it; may be empty
  RequestFields fields;
  bool no_new_tokens = false;  // max_tokens: 0, for echo and prompt_logprobs
  bool unlimited = false;      // max_tokens: -1, up to the context

  // Completions: one prompt each. Chat: messages.
  using Prompt = std::variant<std::string, std::vector<int32_t>>;
  std::vector<Prompt> prompts;
  bool echo = false;
  bool add_special_tokens = true;
  Json messages = nullptr;
  Json tools = nullptr;
  bool call_required = false;     // tool_choice: required, or one function
  std::string required_function;  // the one; empty: any
  bool parallel_calls = true;
  Json template_options = Json::object();
  bool add_generation_prompt = true;
  bool continue_final_message = false;

  bool stream = false, include_usage = false, continuous_usage = false;
  std::optional<int64_t> prompt_logprobs;
  bool return_token_ids = false, tokens_as_ids = false;
  bool include_stop_string = false;
  bool skip_special_tokens = true;
  bool include_reasoning = true;  // false: it is thought, but not sent
  bool split_reasoning = true;    // false: tags and thinking stay in the content
  std::optional<int64_t> thinking_budget;
  std::optional<double> timeout_s;
  int64_t priority = 0;                       // -kMostPriority to kMostPriority
  std::optional<GrammarSpec> answer_grammar;  // response_format
  Extras extras;
};

// `max_logprobs`: of logprobs, top_logprobs and prompt_logprobs.
Result<ApiRequest> parse_api_request(ApiKind kind, std::string_view body, const KnownSpecs& known,
                                     int64_t max_logprobs = kMaxLogprobs);

// "max_tokens" of an error at "request: max_tokens"; empty when it names no field.
std::string field_of(const Error& error);
// The error at its place within the body: what the client reads.
std::string message_of(const Error& error);

}  // namespace throughline::serve

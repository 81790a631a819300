#include "serve/service.h"

// /tokenize, /detokenize, /apply-template: both vLLM's and llama-server's field names.

namespace throughline::serve {
namespace {

Result<Json> object_of(const HttpRequest& request) {
  TL_TRY(Json body, parse_json(request.body, kRequestWhere));
  if (!body.is_object()) return Error{"the body is not a JSON object", kRequestWhere, ""};
  return body;
}

Result<bool> flag(const Json& body, const char* name, bool otherwise) {
  const auto found = body.find(name);
  if (found == body.end() || found->is_null()) return otherwise;
  return TypedValues(kRequestWhere).boolean(name, *found);
}

}  // namespace

Result<Json> Service::tokens_of(const HttpRequest& request) const {
  TL_TRY(const Json body, object_of(request));
  if (!model_->tokenizer) return Error{"the model directory has no tokenizer", kRequestWhere, ""};
  const TypedValues read(kRequestWhere);
  std::vector<int32_t> ids;
  for (const char* name : {"prompt", "content"}) {  // also where another one counts
    if (body.contains(name) && !body[name].is_null()) TL_TRY_STATUS(read.text(name, body[name]));
  }
  if (body.contains("messages")) {
    Json chat = body;
    for (const char* own : {"prompt", "content", "add_special", "parse_special", "with_pieces", "return_token_strs"})
      chat.erase(own);
    TL_TRY(const ApiRequest api, parse(ApiKind::kChat, dump_json(chat)));
    TL_TRY(const ModelPrompt prompt, prompt_of_chat(api));
    ids = prompt.ids;
  } else {
    const bool vllm = body.contains("prompt");
    const char* name = vllm ? "prompt" : "content";
    if (!body.contains(name)) return Error{"is missing", "request: prompt", "give prompt, content or messages"};
    TL_TRY(const std::string text, read.text(name, body[name]));
    // vLLM adds special tokens by default, llama-server does not.
    TL_TRY(const bool special, flag(body, vllm ? "add_special_tokens" : "add_special", vllm));
    TL_TRY(const bool parse, flag(body, "parse_special", true));
    ids = model_->tokenizer->encode(text, {.add_special_tokens = special, .parse_special = parse});
  }
  Json out = {{"count", ids.size()}, {"max_model_len", model_->engine->max_context()}, {"tokens", ids}};
  TL_TRY(const bool pieces, flag(body, "with_pieces", false));
  TL_TRY(const bool strings, flag(body, "return_token_strs", false));
  if (pieces) {
    Json list = Json::array();
    for (const int32_t id : ids) {
      const std::string bytes = model_->tokenizer->token_bytes(id);
      list.push_back({{"id", id}, {"piece", bytes}});
    }
    out["tokens"] = std::move(list);
  }
  if (strings) {
    Json list = Json::array();
    for (const int32_t id : ids) list.push_back(model_->tokenizer->token_text(id));
    out["token_strs"] = std::move(list);
  }
  return out;
}

HttpResponse Service::tokenize(const HttpRequest& request) {
  const auto out = tokens_of(request);
  return out.ok() ? json_response(200, *out) : error_of(out.error());
}

Result<Json> Service::text_of(const HttpRequest& request) const {
  TL_TRY(const Json body, object_of(request));
  if (!model_->tokenizer) return Error{"the model directory has no tokenizer", kRequestWhere, ""};
  if (!body.contains("tokens")) return Error{"is missing", "request: tokens", ""};
  TL_TRY(const auto ids, TypedValues(kRequestWhere).ids("tokens", body["tokens"]));
  for (const int32_t id : ids) {
    if (id >= model_->tokenizer->vocab_size())
      return Error{"token id " + std::to_string(id) + " is not in the vocabulary", "request: tokens", ""};
  }
  TL_TRY(const bool skip, flag(body, "skip_special_tokens", false));
  const std::string text = model_->tokenizer->decode(ids, skip);
  return Json{{"prompt", text}, {"content", text}};
}

HttpResponse Service::detokenize(const HttpRequest& request) {
  const auto out = text_of(request);
  return out.ok() ? json_response(200, *out) : error_of(out.error());
}

Result<Json> Service::rendered_of(const HttpRequest& request) const {
  TL_TRY(const ApiRequest api, parse(ApiKind::kChat, request.body));
  TL_TRY(const ModelPrompt prompt, prompt_of_chat(api));
  return Json{
      {"prompt", prompt.text}, {"count", prompt.ids.size()}, {"opens_thinking", prompt.opens_thinking.value_or(false)}};
}

HttpResponse Service::apply_template(const HttpRequest& request) {
  const auto out = rendered_of(request);
  return out.ok() ? json_response(200, *out) : error_of(out.error());
}

HttpResponse Service::abort_by_body(const HttpRequest& request) {
  const auto body = object_of(request);
  if (!body.ok()) return error_of(body.error());
  const auto id = body->find("request_id");
  if (id == body->end() || !id->is_string()) return error_of(Error{"must be a string", "request: request_id", ""});
  return abort(id->get<std::string>());
}

}  // namespace throughline::serve

#include <algorithm>
#include <cmath>
#include <random>

#include "serve/completion_reply.h"
#include "serve/responses_reply.h"
#include "serve/responses_request.h"
#include "serve/service.h"

namespace throughline::serve {
namespace {

constexpr int64_t kDefaultCompletionTokens = 16;  // OpenAI's, for /v1/completions

uint64_t random_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 21 ^ device()) & ((uint64_t{1} << 53) - 1);  // JSON numbers hold it
}

bool allowed(const std::vector<std::string>& methods, const std::string& method) {
  return methods.empty() || std::find(methods.begin(), methods.end(), method) != methods.end();
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

// Templates take a call's arguments as an object; clients send them as OpenAI does, as its text.
Json with_parsed_arguments(const Json& messages) {
  Json out = messages;
  for (auto& message : out) {
    if (!message.contains("tool_calls") || !message["tool_calls"].is_array()) continue;
    for (auto& call : message["tool_calls"]) {
      if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
      auto& function = call["function"];
      if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
      auto parsed = parse_json(function["arguments"].get<std::string>(), "arguments");
      if (parsed.ok() && parsed->is_object()) function["arguments"] = std::move(parsed).value();
    }
  }
  return out;
}

}  // namespace

HttpResponse Service::error_of(const Error& engine_error) const {
  Error error = engine_error;
  // The engine's name of the ids, which is `generate`'s; here they came as the prompt.
  if (error.where == std::string(kRequestWhere) + ": prompt_ids") error.where = std::string(kRequestWhere) + ": prompt";
  const bool too_long = error.what.find("exceeds the context") != std::string::npos;
  HttpResponse out = error_response(400, message_of(error), field_of(error), too_long ? "context_length_exceeded" : "");
  return out;
}

Result<ApiRequest> Service::parse(ApiKind kind, std::string_view body) const {
  return parse_api_request(kind, body, {policy_infos(), environment_infos()}, options_.max_logprobs);
}

Answer Service::complete(ApiKind kind, const HttpRequest& request, const std::string& id) {
  return begin(parse(kind, request.body), request, id, nullptr);
}

Answer Service::respond(const HttpRequest& request, const std::string& id) {
  auto body = chat_of_responses(request.body);
  if (!body.ok()) return {error_of(body.error()), nullptr};
  return begin(parse(ApiKind::kChat, dump_json(body->chat)), request, id, body->echo);
}

Answer Service::begin(Result<ApiRequest> api, const HttpRequest& request, const std::string& id, const Json& echo) {
  if (!api.ok()) return {error_of(api.error()), nullptr};
  api->priority = std::max(api->priority, priority_limit(request));
  if (options_.only_that_name && !api->model.empty() && api->model != options_.model_name) {
    return {error_response(404, "the model \"" + api->model + "\" is not served here; this is " + options_.model_name,
                           "model", "model_not_found"),
            nullptr};
  }
  auto job = make_job(std::move(api).value(), id);
  if (!job.ok()) return {error_of(job.error()), nullptr};
  auto requests = engine_requests(*job);
  if (!requests.ok()) return {error_of(requests.error()), nullptr};

  const int64_t samples = static_cast<int64_t>(job->prompts.size()) * job->samples_each;
  if (samples > driver_->most_samples()) {
    return {error_response(400,
                           std::to_string(samples) + " answers in one request; at most " +
                               std::to_string(driver_->most_samples()) + " fit into this server's queue",
                           job->prompts.size() > 1 ? "prompt" : "n"),
            nullptr};
  }
  if (const int seconds = driver_->reserve(samples)) {
    metrics_.rejected.add(1, "queue_full");
    HttpResponse full =
        error_response(429, "the queue is full; try again in " + std::to_string(seconds) + " s", "", "queue_full");
    full.headers.emplace_back("Retry-After", std::to_string(seconds));
    return {std::move(full), nullptr};
  }
  int64_t left = samples;
  for (auto& engine_request : *requests) {
    const int64_t own = engine_request.samples;
    const auto ticket = driver_->submit(std::move(engine_request), kRequestWhere);
    if (!ticket.ok()) {
      driver_->give_back(left);
      for (const auto earlier : job->tickets) driver_->cancel(earlier, FinishDetail::kCancelled);
      return {error_of(ticket.error()), nullptr};
    }
    left -= own;
    job->tickets.push_back(*ticket);
  }

  auto entry = std::make_shared<ActiveRequest>();
  entry->id = id;
  entry->kind = !echo.is_null() ? "response" : job->api.kind == ApiKind::kChat ? "chat" : "completion";
  entry->created = job->created;
  entry->stream = job->api.stream;
  entry->priority = job->api.priority;
  entry->kv = job->context.kv_spec;
  entry->think = job->context.think_spec;
  for (const auto& prompt : job->prompts) entry->prompt_tokens += static_cast<int64_t>(prompt.ids.size());
  metrics_.prompt_tokens.add(static_cast<double>(entry->prompt_tokens));
  metrics_.prompt_size.observe(static_cast<double>(entry->prompt_tokens));
  entry->answer = job->stream;
  entry->tickets = job->tickets;
  active_.add(std::move(entry));
  job->on_end = [this, id, began = std::chrono::steady_clock::now(), kv = job->context.kv_spec,
                 think = job->context.think_spec](int status, const Usage& usage, const std::string& ending) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    log_->write(LogLevel::kInfo, "answered",
                {{"id", id},
                 {"status", status},
                 {"finish", ending},
                 {"prompt_tokens", usage.prompt},
                 {"completion_tokens", usage.completion},
                 {"reasoning_tokens", usage.reasoning},
                 {"cached_tokens", usage.cached},
                 {"kv", kv},
                 {"think", think},
                 {"seconds", seconds}});
  };
  if (!echo.is_null()) return {{}, std::make_unique<ResponsesReply>(std::move(*job), echo)};
  return {{}, std::make_unique<CompletionReply>(std::move(*job))};
}

Result<ModelPrompt> Service::prompt_of_chat(const ApiRequest& api) const {
  if (!model_->tokenizer) {
    return Error{"the model directory has no tokenizer", "request: messages",
                 "use /v1/completions with a list of token ids"};
  }
  ChatTemplate::Options options;
  options.add_generation_prompt = api.add_generation_prompt;
  options.tools = api.tools;
  options.extra = api.template_options;
  if (!own_template_) {
    const auto bos = model_->tokenizer->bos_id();
    options.bos_token = bos ? model_->tokenizer->token_text(*bos) : "";
  }
  auto rendered = template_.render_parts(with_parsed_arguments(api.messages), options);
  if (!rendered.ok()) return Error{rendered.error().what, "request: messages", rendered.error().remedy};
  std::string text = std::move(rendered->text);
  if (api.continue_final_message) {
    // What the template writes after the last message's text would end it.
    std::string last = api.messages.back()["content"];
    while (!last.empty() && (last.back() == ' ' || last.back() == '\n')) last.pop_back();
    const size_t at = text.rfind(last);
    if (at == std::string::npos)
      return Error{"the template does not show the last message", "request: continue_final_message", ""};
    text.resize(at + last.size());
  }
  ModelPrompt out;
  out.ids = model_->tokenizer->encode(text, {.add_special_tokens = false, .parse_special = true});
  if (model_->tags) {
    const size_t begin = api.continue_final_message ? 0 : std::min(rendered->generation_begin, text.size());
    out.opens_thinking = model_->tags->opened_by_text(std::string_view(text).substr(begin));
  }
  out.text = std::move(text);
  return out;
}

// A thinking budget is an option of the environment.
Status Service::apply_budget(ApiRequest& api) const {
  if (!api.thinking_budget) return {};
  const char* const where = "request: think";
  if (!api.fields.think) {
    TL_TRY(api.fields.think, parse_spec("longcot", environment_infos(), where));
  }
  TL_TRY(api.fields.think,
         api.fields.think->with("max_thinking", std::to_string(*api.thinking_budget), environment_infos(), where));
  return {};
}

Result<CompletionJob> Service::make_job(ApiRequest api, const std::string& id) {
  api.fields = api.fields.over(api.unlimited ? [this] {
    RequestFields defaults = options_.defaults;
    defaults.max_tokens.reset();
    return defaults;
  }() : options_.defaults);
  if (api.kind == ApiKind::kCompletion && !api.fields.max_tokens && !api.unlimited)
    api.fields.max_tokens = kDefaultCompletionTokens;
  if (!api.fields.seed) api.fields.seed = random_seed();
  TL_TRY_STATUS(apply_budget(api));
  if (api.fields.kv && !allowed(options_.allowed_kv, api.fields.kv->method))
    return Error{"\"" + api.fields.kv->method + "\" is not allowed here", "request: kv",
                 "allowed: " + joined(options_.allowed_kv)};
  if (api.fields.think && !allowed(options_.allowed_think, api.fields.think->method))
    return Error{"\"" + api.fields.think->method + "\" is not allowed here", "request: think",
                 "allowed: " + joined(options_.allowed_think)};
  if (api.stream && api.prompt_logprobs)
    return Error{"log-probs of the prompt are not streamed", "request: stream", "use stream: false"};

  CompletionJob job;
  if (api.kind == ApiKind::kChat) {
    TL_TRY(ModelPrompt prompt, prompt_of_chat(api));
    job.prompts.push_back(std::move(prompt));
  } else {
    for (const auto& given : api.prompts) {
      ModelPrompt prompt;
      if (const auto* ids = std::get_if<std::vector<int32_t>>(&given)) {
        prompt.ids = *ids;
        if (api.echo) job.prompt_texts.push_back(model_->tokenizer ? model_->tokenizer->decode(*ids, true) : "");
      } else {
        if (!model_->tokenizer)
          return Error{"the model directory has no tokenizer", "request: prompt", "give lists of token ids"};
        const auto& text = std::get<std::string>(given);
        prompt.ids = model_->tokenizer->encode(text, {.add_special_tokens = api.add_special_tokens});
        if (api.echo) job.prompt_texts.push_back(text);
      }
      job.prompts.push_back(std::move(prompt));
    }
  }
  const ModelConfig& config = model_->decoder->config();
  job.id = id;
  job.model = options_.only_that_name || api.model.empty() ? options_.model_name : api.model;
  job.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  job.samples_each = api.fields.n.value_or(1);
  job.tags = model_->tags;
  job.context.tokenizer = model_->tokenizer.get();
  job.context.layers = config.layers;
  job.context.kv_heads = config.kv_heads;
  job.context.seed = *api.fields.seed;
  job.context.priority = api.priority;
  job.context.tokens_as_ids = api.tokens_as_ids;
  job.context.shown_layers = api.extras.layers;
  if (api.fields.kv) job.context.kv_spec = api.fields.kv->to_string();
  if (api.fields.think) job.context.think_spec = api.fields.think->to_string();
  job.active = &active_;
  job.driver = driver_;
  job.api = std::move(api);
  return job;
}

// A request that may go on for longer than the KV memory holds gets what it holds: then its thinking is closed in time
// and an answer follows, where running dry in the middle would lose it.
void Service::limit_by_memory(Request& request, CompletionJob& job) const {
  if (request.environment && request.environment->max_chunks() > 1) return;
  const EngineOptions& engine = model_->engine->options();
  const int64_t room = driver_->state().engine.pages * engine.page_tokens - engine.page_tokens;
  const auto prompt = static_cast<int64_t>(request.prompt_ids.size());
  if (request.policy && request.policy->least_budget() > 0 && request.policy->least_tokens(prompt) <= room) return;
  const auto peak = [&](int64_t tokens) {
    return request.policy ? request.policy->peak_tokens(prompt, tokens) : prompt + tokens;
  };
  const int64_t wanted = std::min(request.max_tokens < 0 ? engine.max_context : request.max_tokens,
                                  std::max<int64_t>(1, engine.max_context - prompt + 1));
  if (peak(wanted) <= room) return;
  int64_t low = 1, high = wanted;  // peak() never falls as more is said
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    if (peak(middle) <= room) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  request.max_tokens = low;
  job.context.limited_by_memory = true;
}

// A required call goes before response_format, which is about answers in words. It is written as the template teaches
// the model: tagged, or as bare JSON.
Result<std::shared_ptr<TokenGrammar>> Service::grammar_of(const CompletionJob& job) const {
  const ApiRequest& api = job.api;
  if (!api.call_required) {
    if (!api.answer_grammar) return std::shared_ptr<TokenGrammar>();
    return model_->grammar(*api.answer_grammar);
  }
  GrammarSpec spec{.where = std::string(kRequestWhere) + ": tools"};
  for (size_t i = 0; i < api.tools.size(); ++i) {
    const Json& function = api.tools[i]["function"];
    if (!api.required_function.empty() && function["name"] != api.required_function) continue;
    spec.tools.push_back({function["name"], function.value("parameters", Json(nullptr)),
                          spec.where + "[" + std::to_string(i) + "].function.parameters"});
  }
  spec.tagged = job.prompts.front().text.find("<tool_call>") != std::string::npos;
  spec.several = spec.tagged && api.parallel_calls && api.required_function.empty();
  return model_->grammar(spec);
}

Result<std::vector<Request>> Service::engine_requests(CompletionJob& job) {
  const ApiRequest& api = job.api;
  const RequestFields& fields = api.fields;
  std::vector<Request> out;
  TL_TRY(const auto grammar, grammar_of(job));
  for (const auto& prompt : job.prompts) {
    TL_TRY(Request request, model_->request(prompt, fields, "", kRequestWhere));
    if (grammar) request.grammar = grammar;
    request.stop_in_thinking = api.kind == ApiKind::kCompletion || !api.split_reasoning;
    request.continues_text = api.kind == ApiKind::kCompletion;
    request.prompt_logprobs = api.prompt_logprobs.value_or(-1);
    request.weight = std::exp2(-static_cast<double>(api.priority));
    limit_by_memory(request, job);
    const double timeout = std::min(api.timeout_s.value_or(1e9), options_.timeout_s > 0 ? options_.timeout_s : 1e9);
    if (timeout < 1e9) {
      request.deadline =
          std::chrono::steady_clock::now() +
          std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(timeout));
    }
    job.context.policy = request.policy;
    job.context.environment = request.environment;
    out.push_back(std::move(request));
  }
  const std::string kv_method = fields.kv ? fields.kv->method : "full";
  const std::string think_method = fields.think ? fields.think->method : "longcot";
  job.stream = std::make_shared<AnswerStream>(
      AnswerStream::Options{.samples = static_cast<int64_t>(job.prompts.size()) * job.samples_each,
                            .live = api.stream,
                            .logprobs = fields.logprobs.has_value(),
                            .chunks = api.extras.chunks || (!api.stream && api.extras.kv_events),
                            .kv_events = api.extras.kv_events,
                            .metrics = &metrics_,
                            .kv_method = kv_method,
                            .think_method = think_method});
  for (size_t p = 0; p < out.size(); ++p) {
    const int64_t first = static_cast<int64_t>(p) * job.samples_each;
    out[p].on_progress = [stream = job.stream, first](const SampleProgress& progress) {
      stream->on_progress(first + progress.sample, progress);
    };
    out[p].on_finish = [stream = job.stream, first](SampleResult result) {
      const int64_t index = first + result.sample;
      stream->on_finish(index, std::move(result));
    };
  }
  return out;
}

}  // namespace throughline::serve

#include <algorithm>

#include "serve/service.h"
#ifdef THROUGHLINE_PAGE
#include "serve/web_files.h"
#endif

// What the server says about itself: models, health, props, requests, metrics; and its page.

namespace throughline::serve {
namespace {

const char* type_name(OptionType type) {
  switch (type) {
    case OptionType::kInteger:
      return "integer";
    case OptionType::kNumber:
      return "number";
    case OptionType::kBoolean:
      return "boolean";
    case OptionType::kChoice:
      return "choice";
    case OptionType::kText:
      break;
  }
  return "text";
}

Json option_json(const OptionInfo& option) {
  Json out = {{"name", option.name},
              {"type", type_name(option.type)},
              {"default", option.default_text.empty() ? Json(nullptr) : Json(option.default_text)},
              {"required", option.required},
              {"help", option.help}};
  if (option.type == OptionType::kInteger || option.type == OptionType::kNumber) {
    out["minimum"] = option.minimum;
    out["maximum"] = option.maximum;
  }
  if (!option.choices.empty()) out["choices"] = option.choices;
  return out;
}

// {"allowed": [...], "methods": [...]} of what a request may name.
Json methods_json(std::span<const SpecInfo> infos, const std::vector<std::string>& allowed) {
  Json names = Json::array(), methods = Json::array();
  for (const auto& info : infos) {
    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), info.method) == allowed.end()) continue;
    Json options = Json::array();
    for (const auto& option : info.options) options.push_back(option_json(option));
    names.push_back(info.method);
    methods.push_back({{"method", info.method}, {"help", info.help}, {"options", std::move(options)}});
  }
  return {{"allowed", std::move(names)}, {"methods", std::move(methods)}};
}

const char* family_name(ModelFamily family) {
  return family == ModelFamily::kQwen2 ? "qwen2" : family == ModelFamily::kQwen3 ? "qwen3" : "llama";
}

double kv_usage(const EngineStats& stats) {
  // Prefix pages that nobody uses are as good as free.
  const auto used = static_cast<double>(stats.used_pages - stats.shared_prefix_pages);
  return stats.pages > 0 ? used / static_cast<double>(stats.pages) : 0;
}

}  // namespace

Json Service::model_json() const {
  return {{"id", options_.model_name},
          {"object", "model"},
          {"created", created_},
          {"owned_by", "throughline"},
          {"max_model_len", model_->engine->max_context()},
          {"meta",
           {{"n_vocab", model_->decoder->config().vocab}, {"n_ctx_train", model_->decoder->config().max_positions}}}};
}

HttpResponse Service::models() const {
  return json_response(200, {{"object", "list"}, {"data", Json::array({model_json()})}});
}

HttpResponse Service::one_model(const std::string& name) const {
  if (name != options_.model_name)
    return error_response(404, "the model \"" + name + "\" is not served here", "model", "model_not_found");
  return json_response(200, model_json());
}

HttpResponse Service::health() const {
  if (draining_) return error_response(503, "the server is shutting down", "", "shutting_down");
  return json_response(200, {{"status", "ok"}});
}

HttpResponse Service::version() const { return json_response(200, {{"version", options_.version}}); }

HttpResponse Service::props() const {
  const ModelConfig& config = model_->decoder->config();
  const GenerationDefaults& own = model_->defaults;
  const RequestFields& flags = options_.defaults;
  const EngineOptions& engine = model_->engine->options();
  const auto& tags = model_->tags;
  Json kv = methods_json(policy_infos(), options_.allowed_kv);
  kv["memory_bytes"] = engine.kv_memory_bytes;
  kv["page_tokens"] = engine.page_tokens;
  kv["pages"] = driver_->state().engine.pages;
  return json_response(
      200, {{"model",
             {{"id", options_.model_name},
              {"family", family_name(config.family)},
              {"layers", config.layers},
              {"heads", config.q_heads},
              {"kv_heads", config.kv_heads},
              {"vocab_size", config.vocab},
              {"max_context", engine.max_context},
              {"dtype", model_->decoder->dtype() == at::kBFloat16 ? "bfloat16" : "float32"},
              {"chat_template", own_template_},
              {"thinking_tags", tags ? Json::array({tags->open_text, tags->close_text}) : Json(nullptr)}}},
            {"server",
             {{"version", options_.version},
              {"uptime_s", std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count()},
              {"exact", engine.exact},
              {"batch_max", engine.batch_max},
              {"max_queue", driver_->most_samples() - engine.batch_max},
              {"keys", !options_.api_keys.empty()}}},
            {"defaults",
             {{"kv", flags.kv ? flags.kv->to_string() : "full"},
              {"think", flags.think ? flags.think->to_string() : "longcot"},
              {"max_tokens", flags.max_tokens ? Json(*flags.max_tokens) : Json(nullptr)},
              {"temperature", flags.temperature.value_or(own.has_temperature ? own.temperature : 1)},
              {"top_p", flags.top_p.value_or(own.has_top_p ? own.top_p : 1)},
              {"top_k", flags.top_k.value_or(own.has_top_k ? own.top_k : 0)},
              {"min_p", flags.min_p.value_or(own.has_min_p ? own.min_p : 0)},
              {"repetition_penalty",
               flags.repetition_penalty.value_or(own.has_repetition_penalty ? own.repetition_penalty : 1)}}},
            {"kv", std::move(kv)},
            {"think", methods_json(environment_infos(), options_.allowed_think)},
            {"total_slots", engine.batch_max}});
}

HttpResponse Service::requests() const {
  const DriverState state = driver_->state();
  return json_response(200, {{"running", state.engine.running},
                             {"waiting", state.engine.waiting},
                             {"queued", std::max<int64_t>(0, state.open - state.engine.running)},
                             {"kv",
                              {{"pages", state.engine.pages},
                               {"used_pages", state.engine.used_pages},
                               {"shared_prefix_pages", state.engine.shared_prefix_pages},
                               {"usage", kv_usage(state.engine)}}},
                             {"tokens_per_s", state.tokens_per_s},
                             {"requests", active_.list()}});
}

HttpResponse Service::slots(const HttpRequest& request) const {
  const DriverState state = driver_->state();
  const int64_t most = model_->engine->options().batch_max;
  if (request.query.find("fail_on_no_slot=1") != std::string::npos && state.open >= most)
    return error_response(503, "no slot is free", "", "no_slot");
  return json_response(200, active_.list());
}

HttpResponse Service::metrics_text() const {
  const DriverState state = driver_->state();
  const EngineStats& engine = state.engine;
  const auto waiting = static_cast<double>(std::max<int64_t>(0, state.open - engine.running));
  const auto running = static_cast<double>(engine.running);
  const EngineOptions& options = model_->engine->options();
  std::string out;
  write_gauge(out, "throughline_requests_running", "Samples that run.", running);
  write_gauge(out, "throughline_requests_waiting", "Samples taken that do not run.", waiting);
  write_gauge(out, "throughline_kv_cache_usage_ratio", "Used share of the KV pages, idle prefix pages left out.",
              kv_usage(engine));
  const double page_bytes =
      static_cast<double>(options.kv_memory_bytes) / static_cast<double>(std::max<int64_t>(1, engine.pages));
  write_gauge(out, "throughline_kv_bytes_in_use", "Bytes of the KV pages in use, prefix pages included.",
              page_bytes * static_cast<double>(engine.used_pages));
  write_gauge(out, "throughline_tokens_per_second", "Tokens generated a second, over the last second or more.",
              state.tokens_per_s);
  write_gauge(out, "vllm:num_requests_running", "As throughline_requests_running.", running);
  write_gauge(out, "vllm:num_requests_waiting", "As throughline_requests_waiting.", waiting);
  write_gauge(out, "vllm:kv_cache_usage_perc", "As throughline_kv_cache_usage_ratio.", kv_usage(engine));
  const auto total = [&](const char* name, const char* help, int64_t value) {
    Counter counter(name, help);
    counter.add(static_cast<double>(value));
    counter.write(out);
  };
  total("throughline_prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.",
        engine.prefill_tokens + engine.prefix_hit_tokens);
  total("throughline_prefix_cache_hits_total", "Prompt tokens found there.", engine.prefix_hit_tokens);
  total("throughline_preemptions_total", "Samples that gave way for memory.",
        engine.preemptions_parked + engine.preemptions_replayed);
  total("throughline_turns_total", "Samples parked for another's turn.", engine.turns);
  Counter pressure("throughline_kv_pressure_total", "What memory pressure led to, by its stages in their order.",
                   "stage");
  pressure.add(static_cast<double>(engine.budgets_lowered), "budget");
  pressure.add(static_cast<double>(engine.preemptions_parked), "park");
  pressure.add(static_cast<double>(engine.preemptions_replayed), "recompute");
  pressure.write(out);
  total("vllm:spec_decode_num_drafts_total", "Times a sample fed drafts (--speculate).", engine.drafts);
  total("vllm:spec_decode_num_draft_tokens_total", "Tokens fed before they were sampled.", engine.draft_tokens);
  total("vllm:spec_decode_num_accepted_tokens_total", "Of these, those that then were sampled.",
        engine.accepted_tokens);
  total("throughline_engine_steps_total", "Steps of the engine.", engine.steps);
  metrics_.write(out);
  return {.status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8", .body = out, .headers = {}};
}

HttpResponse Service::abort(const std::string& id) {
  if (!active_.cancel(id, FinishDetail::kCancelled))
    return error_response(404, "no request under way has the id \"" + id.substr(0, 64) + "\"", "", "request_not_found");
  return json_response(200, {{"id", id}, {"cancelled", true}});
}

#ifdef THROUGHLINE_PAGE
namespace {

// "gzip" without ";q=0" or its like ("0.0").
bool takes_gzip(const HttpRequest& request) {
  const std::string_view accepted = request.header("accept-encoding");
  const size_t at = accepted.find("gzip");
  if (at == std::string_view::npos) return false;
  const std::string_view rest = accepted.substr(at + 4, accepted.find(',', at) - at - 4);
  return rest.substr(0, 4) != ";q=0" || rest.find_first_of("123456789") != std::string_view::npos;
}

HttpResponse file_response(const HttpRequest& request, std::string_view name) {
  const auto files = web_files();
  const auto file = std::find_if(files.begin(), files.end(), [&](const WebFile& f) { return f.name == name; });
  if (file == files.end())
    return error_response(404, "the page has no file \"" + std::string(name.substr(0, 64)) + "\"", "", "not_found");
  const bool packed = takes_gzip(request) && file->gzip.size() < file->bytes.size();
  std::string etag(file->etag);
  if (packed) etag.insert(etag.size() - 1, "-gzip");
  HttpResponse out;
  out.headers = {{"ETag", etag},
                 {"Vary", "Accept-Encoding"},
                 {"Cache-Control", "no-cache"},
                 {"X-Content-Type-Options", "nosniff"},
                 {"Referrer-Policy", "no-referrer"},
                 {"Content-Security-Policy",
                  "default-src 'self'; img-src 'self' data:; style-src 'self'; connect-src 'self'; "
                  "frame-ancestors 'none'"}};
  if (request.header("if-none-match") == etag) {
    out.status = 304;
    return out;
  }
  if (packed) out.headers.emplace_back("Content-Encoding", "gzip");
  out.content_type = std::string(file->mime);
  out.body = std::string(packed ? file->gzip : file->bytes);
  return out;
}

}  // namespace

HttpResponse Service::openapi(const HttpRequest& request) const { return file_response(request, "openapi.json"); }

HttpResponse Service::page(const HttpRequest& request, const std::string& name) const {
  if (!options_.page) return error_response(404, "this server has no page", "", "not_found");
  return file_response(request, name);
}
#else
HttpResponse Service::openapi(const HttpRequest&) const { return error_response(404, "not built in", "", "not_found"); }
HttpResponse Service::page(const HttpRequest&, const std::string&) const {
  return error_response(404, "this server has no page", "", "not_found");
}
#endif

}  // namespace throughline::serve

#include "serve/service.h"

#include <fmt/core.h>

#include <algorithm>
#include <random>

#include "serve/completion_reply.h"

namespace throughline::serve {
namespace {

std::string new_id(const std::string& prefix) {
  static thread_local std::mt19937_64 random{std::random_device()()};
  return fmt::format("{}-{:016x}{:08x}", prefix, random(), static_cast<uint32_t>(random()));
}

ChatTemplate template_of(const LoadedModel& model) {
  if (model.chat_template) return *model.chat_template;
  return std::move(ChatTemplate::parse(kPlainTemplate, "plain fallback template")).value();
}

bool is_page(const std::string& path) { return path == "/" || path.compare(0, 8, "/static/") == 0; }

HttpResponse not_allowed(const std::string& methods) {
  HttpResponse out = error_response(405, "this path answers " + methods + " only");
  out.headers.emplace_back("Allow", methods);
  return out;
}

std::string_view key_of(const HttpRequest& request) {
  std::string_view key = request.header("authorization");
  if (key.size() <= 7 || (key.substr(0, 7) != "Bearer " && key.substr(0, 7) != "bearer "))
    return request.header("x-api-key");
  key.remove_prefix(7);
  return key;
}

// "localhost:8080", "127.0.0.1", "[::1]:8080": no name that somebody else's name server could have led here.
bool names_this_machine(std::string_view host) {
  if (host.starts_with('[')) return true;
  host = host.substr(0, host.find(':'));
  return host == "localhost" || host.ends_with(".localhost") ||
         host.find_first_not_of("0123456789.") == std::string_view::npos;
}

// What may be said back or logged of a client's header: short, and nothing that could end a line.
std::string tame(std::string_view text) {
  std::string out(text.substr(0, 128));
  std::erase_if(out, [](char c) { return c < 0x21 || c > 0x7e; });
  return out;
}

}  // namespace

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  volatile unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i)
    difference = static_cast<unsigned char>(difference | (a[i] ^ (b.empty() ? '\0' : b[i % b.size()])));
  return difference == 0;
}

Service::Service(LoadedModel* model, EngineDriver* driver, ServiceOptions options, ServerLog* log)
    : model_(model),
      driver_(driver),
      options_(std::move(options)),
      log_(log),
      template_(template_of(*model)),
      own_template_(model->chat_template.has_value()),
      active_(driver),
      limits_(options_.requests_per_minute),
      created_(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
                   .count()) {}

Service::~Service() = default;

Answer Service::handle(const HttpRequest& request) {
  const bool chat = request.path == "/v1/chat/completions" || request.path == "/chat/completions";
  const std::string id = new_id(chat                                ? "chatcmpl"
                                : request.path == "/v1/completions" ? "cmpl"
                                : request.path == "/v1/responses"   ? "resp"
                                                                    : "req");
  const auto began = std::chrono::steady_clock::now();
  Answer answer;
  if (auto refused = refuse(request, id)) {
    answer.now = std::move(*refused);
  } else {
    try {
      answer = route(request, id);
    } catch (const std::exception& failure) {
      answer.now = error_response(500, internal_error(failure));
    }
  }
  add_common_headers(request, id, answer.now.headers);
  const int status = answer.later ? 200 : answer.now.status;
  metrics_.http.add(1, std::to_string(status));
  const bool quiet = request.method == "GET" && status < 400;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  log_->write(status >= 500 ? LogLevel::kError
              : quiet       ? LogLevel::kDebug
                            : LogLevel::kInfo,
              "request",
              {{"id", id},
               {"method", tame(request.method)},
               {"path", request.path.substr(0, 256)},
               {"status", answer.later ? Json("accepted") : Json(status)},
               {"peer", request.peer},
               {"traceparent",
                request.header("traceparent").empty() ? Json(nullptr) : Json(tame(request.header("traceparent")))},
               {"client_id",
                request.header("x-request-id").empty() ? Json(nullptr) : Json(tame(request.header("x-request-id")))},
               {"seconds", seconds}});
  return answer;
}

void Service::complete_fault(HttpResponse& fault, const std::string& peer) {
  const std::string id = new_id("req");
  metrics_.http.add(1, std::to_string(fault.status));
  if (fault_lines_.ask("all") == 0) {
    const auto body = parse_json(fault.body, "fault");
    log_->write(LogLevel::kInfo, "refused",
                {{"id", id},
                 {"status", fault.status},
                 {"peer", peer},
                 {"why", body.ok() ? (*body)["error"]["message"] : Json(nullptr)},
                 {"unlogged", unlogged_faults_.exchange(0)}});
  } else {
    ++unlogged_faults_;
  }
  add_common_headers(HttpRequest(), id, fault.headers);
}

// Keys, rate limits and draining: what stands before every route.
std::optional<HttpResponse> Service::refuse(const HttpRequest& request, const std::string& /*id*/) {
  const bool open =
      request.path == "/health" || request.path == "/v1/health" || is_page(request.path) || request.method == "OPTIONS";
  const std::string_view key = key_of(request);
  if (!open && !options_.api_keys.empty()) {
    bool known = false;
    for (const auto& good : options_.api_keys) known = equal_in_constant_time(key, good) || known;
    if (!known) {
      metrics_.rejected.add(1, "api_key");
      HttpResponse out = error_response(
          401, key.empty() ? "no API key was given: send Authorization: Bearer KEY" : "the API key is not known", "",
          "invalid_api_key");
      out.headers.emplace_back("WWW-Authenticate", "Bearer");
      return out;
    }
  }
  const bool acts = request.method != "GET" && request.method != "HEAD" && request.method != "OPTIONS";
  if (acts && !origin_may_call(request)) {
    metrics_.rejected.add(1, "origin");
    return error_response(403, "web pages of another origin may not call this server; --cors-origin allows one", "",
                          "origin_not_allowed");
  }
  if (open || request.method != "POST") return std::nullopt;
  if (draining_) {
    HttpResponse out = error_response(503, "the server is shutting down", "", "shutting_down");
    out.headers.emplace_back("Retry-After", "5");
    return out;
  }
  if (const int seconds = limits_.ask(options_.api_keys.empty() ? request.peer : std::string(key))) {
    metrics_.rejected.add(1, "rate_limit");
    HttpResponse out = error_response(429, "too many requests; try again in " + std::to_string(seconds) + " s", "",
                                      "rate_limit_exceeded");
    out.headers.emplace_back("Retry-After", std::to_string(seconds));
    return out;
  }
  return std::nullopt;
}

int64_t Service::priority_limit(const HttpRequest& request) const {
  const auto own = options_.key_priority_limits.find(std::string(key_of(request)));
  return own == options_.key_priority_limits.end() ? options_.priority_limit : own->second;
}

// A browser sends simple requests of any page without asking first: closed CORS hides the answer, not the work.
bool Service::origin_may_call(const HttpRequest& request) const {
  const std::string_view origin = request.header("origin");
  if (origin.empty()) return true;  // no browser, or an old one
  const auto& allowed = options_.cors_origins;
  if (std::find(allowed.begin(), allowed.end(), "*") != allowed.end()) return true;
  if (std::find(allowed.begin(), allowed.end(), origin) != allowed.end()) return true;
  const size_t scheme = origin.find("://");
  const std::string_view host = scheme == std::string_view::npos ? origin : origin.substr(scheme + 3);
  if (options_.local_pages_only && !names_this_machine(host)) return false;  // DNS rebinding: Host says it too
  return host == request.header("host") || host == request.header("x-forwarded-host");
}

void Service::add_common_headers(const HttpRequest& request, const std::string& id, Headers& headers) const {
  headers.emplace_back("X-Request-Id", id);
  headers.emplace_back("Server", "throughline");
  if (const auto trace = request.header("traceparent"); !trace.empty())
    headers.emplace_back("traceparent", tame(trace));
  const auto origin = request.header("origin");
  if (origin.empty() || options_.cors_origins.empty()) return;
  const auto& allowed = options_.cors_origins;
  const bool any = std::find(allowed.begin(), allowed.end(), "*") != allowed.end();
  if (!any && std::find(allowed.begin(), allowed.end(), origin) == allowed.end()) return;
  headers.emplace_back("Access-Control-Allow-Origin", any ? "*" : tame(origin));
  headers.emplace_back("Vary", "Origin");
}

HttpResponse Service::preflight(const HttpRequest& /*request*/) const {
  HttpResponse out{.status = 204, .headers = {}};
  if (options_.cors_origins.empty()) return out;
  out.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, DELETE");
  out.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id, traceparent");
  out.headers.emplace_back("Access-Control-Max-Age", "600");
  return out;
}

Answer Service::route(const HttpRequest& request, const std::string& id) {
  const std::string& method = request.method;
  std::string path = request.path;
  if (path.size() > 1 && path.back() == '/') path.pop_back();
  if (method == "OPTIONS") return {preflight(request), nullptr};

  constexpr std::string_view kOne = "/requests/";
  if (path.compare(0, kOne.size(), kOne) == 0) {
    if (method != "DELETE") return {not_allowed("DELETE"), nullptr};
    return {abort(path.substr(kOne.size())), nullptr};
  }
  const bool get = method == "GET" || method == "HEAD";
  using GetRoute = HttpResponse (Service::*)() const;
  static const std::pair<std::string_view, GetRoute> kGet[] = {
      {"/v1/models", &Service::models}, {"/models", &Service::models},       {"/health", &Service::health},
      {"/v1/health", &Service::health}, {"/props", &Service::props},         {"/requests", &Service::requests},
      {"/version", &Service::version},  {"/metrics", &Service::metrics_text}};
  for (const auto& [name, answer] : kGet) {
    if (path == name) return {get ? (this->*answer)() : not_allowed("GET"), nullptr};
  }
  if (path == "/openapi.json") return {get ? openapi(request) : not_allowed("GET"), nullptr};
  if (path == "/slots") return {get ? slots(request) : not_allowed("GET"), nullptr};
  if (path.compare(0, 11, "/v1/models/") == 0) return {get ? one_model(path.substr(11)) : not_allowed("GET"), nullptr};
  if (is_page(path))
    return {get ? page(request, path == "/" ? "index.html" : path.substr(8)) : not_allowed("GET"), nullptr};

  const bool post = method == "POST";
  if (path == "/v1/chat/completions" || path == "/chat/completions")
    return post ? complete(ApiKind::kChat, request, id) : Answer{not_allowed("POST"), nullptr};
  if (path == "/v1/completions" || path == "/completions")
    return post ? complete(ApiKind::kCompletion, request, id) : Answer{not_allowed("POST"), nullptr};
  if (path == "/v1/responses" || path == "/responses")
    return post ? respond(request, id) : Answer{not_allowed("POST"), nullptr};
  using PostRoute = HttpResponse (Service::*)(const HttpRequest&);
  static const std::pair<std::string_view, PostRoute> kPost[] = {{"/tokenize", &Service::tokenize},
                                                                 {"/detokenize", &Service::detokenize},
                                                                 {"/apply-template", &Service::apply_template},
                                                                 {"/v1/abort", &Service::abort_by_body}};
  for (const auto& [name, answer] : kPost) {
    if (path == name) return {post ? (this->*answer)(request) : not_allowed("POST"), nullptr};
  }
  return {error_response(404, "there is nothing at this path; docs/server.md lists what there is", "", "not_found"),
          nullptr};
}

}  // namespace throughline::serve

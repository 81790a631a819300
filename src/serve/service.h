// The server's routes behind HTTP: what each path answers, who may ask, and how a body becomes engine requests.
//
// handle() may be called from any thread. Paths reach no file: the page is in the binary.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/loaded_model.h"
#include "serve/active_requests.h"
#include "serve/api_request.h"
#include "serve/engine_driver.h"
#include "serve/http_types.h"
#include "serve/metrics.h"
#include "serve/rate_limits.h"
#include "serve/server_log.h"

namespace throughline::serve {

struct CompletionJob;

struct ServiceOptions {
  std::string model_name;       // what the model is called in answers
  bool only_that_name = false;  // other names in requests are refused
  std::string version;
  RequestFields defaults;                              // of the command line; a request's own fields win
  std::vector<std::string> allowed_kv, allowed_think;  // methods; empty: all
  std::vector<std::string> api_keys;                   // empty: no key is asked for
  std::vector<std::string> cors_origins;               // "*": any; empty: closed
  double timeout_s = 0;                                // of a request; 0: none
  double requests_per_minute = 0;                      // a key (or address); 0: no limit
  int64_t max_logprobs = kMaxLogprobs;                 // candidates that a request may ask for, a token
  int64_t priority_limit = 0;  // the most urgent that requests get; more urgent is lowered to it
  std::map<std::string, int64_t> key_priority_limits;  // of keys that have their own
  bool page = true;
  // Nobody but this machine gets here, and without a key: a page's own name is believed only if it is this machine's.
  bool local_pages_only = false;
};

class Service {
 public:
  Service(LoadedModel* model, EngineDriver* driver, ServiceOptions options, ServerLog* log);
  ~Service();
  Answer handle(const HttpRequest& request);
  void complete_fault(HttpResponse& fault, const std::string& peer);  // the answer to what was no request

  void begin_drain() { draining_ = true; }  // nothing new is taken
  ActiveRequests& active() { return active_; }
  Metrics& metrics() { return metrics_; }

 private:
  Answer route(const HttpRequest& request, const std::string& id);
  std::optional<HttpResponse> refuse(const HttpRequest& request, const std::string& id);
  bool origin_may_call(const HttpRequest& request) const;
  void add_common_headers(const HttpRequest& request, const std::string& id, Headers& headers) const;
  HttpResponse preflight(const HttpRequest& request) const;

  // completions.cc
  Result<ApiRequest> parse(ApiKind kind, std::string_view body) const;
  Answer complete(ApiKind kind, const HttpRequest& request, const std::string& id);
  Answer respond(const HttpRequest& request, const std::string& id);  // /v1/responses
  // Queues it and begins its answer. `echo`: of a response; null for the other two.
  Answer begin(Result<ApiRequest> api, const HttpRequest& request, const std::string& id, const Json& echo);
  int64_t priority_limit(const HttpRequest& request) const;
  Result<CompletionJob> make_job(ApiRequest api, const std::string& id);
  Result<ModelPrompt> prompt_of_chat(const ApiRequest& api) const;
  Result<std::vector<Request>> engine_requests(CompletionJob& job);
  Result<std::shared_ptr<TokenGrammar>> grammar_of(const CompletionJob& job) const;  // null: none is asked for
  Status apply_budget(ApiRequest& api) const;
  void limit_by_memory(Request& request, CompletionJob& job) const;
  HttpResponse error_of(const Error& error) const;

  // text_routes.cc
  HttpResponse tokenize(const HttpRequest& request);
  HttpResponse detokenize(const HttpRequest& request);
  HttpResponse apply_template(const HttpRequest& request);
  HttpResponse abort_by_body(const HttpRequest& request);
  Result<Json> tokens_of(const HttpRequest& request) const;
  Result<Json> text_of(const HttpRequest& request) const;
  Result<Json> rendered_of(const HttpRequest& request) const;

  // info_routes.cc
  Json model_json() const;
  HttpResponse models() const;
  HttpResponse one_model(const std::string& name) const;
  HttpResponse health() const;
  HttpResponse version() const;
  HttpResponse props() const;
  HttpResponse requests() const;
  HttpResponse metrics_text() const;
  HttpResponse slots(const HttpRequest& request) const;
  HttpResponse page(const HttpRequest& request, const std::string& name) const;
  HttpResponse openapi(const HttpRequest& request) const;
  HttpResponse abort(const std::string& id);

  LoadedModel* model_;
  EngineDriver* driver_;
  ServiceOptions options_;
  ServerLog* log_;
  ChatTemplate template_;      // the model's, or the plain fallback
  bool own_template_ = false;  // the model's
  Metrics metrics_;
  ActiveRequests active_;
  RateLimits limits_;
  RateLimits fault_lines_{60};  // of all peers together: nobody who cannot even ask may fill the disk with our log
  std::atomic<int64_t> unlogged_faults_{0};
  std::atomic<bool> draining_{false};
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  int64_t created_ = 0;
};

// For models without a chat template: the messages' texts, one after the other, for the model to go on from.
constexpr const char* kPlainTemplate =
    "{{ bos_token or '' }}{% for message in messages %}{{ message.content }}{% if not loop.last %}\n{% endif %}{% "
    "endfor %}";

// Bytes equal, in a time that depends on the lengths only.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace throughline::serve

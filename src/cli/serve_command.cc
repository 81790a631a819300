#include "cli/serve_command.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>

#include "base/files.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/number_range.h"
#include "cli/report.h"
#include "cli/version.h"
#include "serve/server.h"

namespace throughline {
namespace {

struct Options {
  ModelOptions model;
  FieldFlags flags;
  serve::ServerOptions server;
  std::string served_name, key_file, log_level = "info", log_format = "json", body_limit = "16M";
  bool no_page = false;
};

serve::LogLevel log_level_of(const std::string& word) {
  if (word == "debug") return serve::LogLevel::kDebug;
  if (word == "warn") return serve::LogLevel::kWarn;
  if (word == "error") return serve::LogLevel::kError;
  return word == "off" ? serve::LogLevel::kOff : serve::LogLevel::kInfo;
}

// One key a line, perhaps with " priority=N" behind it; '#' begins a comment.
Status add_keys(const std::string& path, serve::ServiceOptions& service) {
  TL_TRY(const std::string text, read_file(path, size_t{1} << 20));
  std::istringstream lines(text);
  std::string line;
  bool found = false;
  for (int64_t number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line);
    std::string key, option;
    if (!(words >> key) || key[0] == '#') continue;
    found = true;
    service.api_keys.push_back(key);
    if (!(words >> option) || option[0] == '#') continue;
    const std::string where = "--api-key-file " + path + " line " + std::to_string(number);
    int64_t limit = 0;
    const char* end = option.data() + option.size();
    const bool named = option.compare(0, 9, "priority=") == 0;
    if (!named || std::from_chars(option.data() + 9, end, limit).ptr != end || option.size() == 9 ||
        std::abs(limit) > serve::kMostPriority || words >> option)
      return Error{"is not a key, or a key and priority=N with N from -8 to 8", where, ""};
    service.key_priority_limits[key] = limit;
  }
  if (!found) return Error{"holds no key", "--api-key-file " + path, "write one key a line"};
  return {};
}

Status check_methods(const std::vector<std::string>& methods, std::span<const SpecInfo> infos,
                     const std::string& flag) {
  for (const auto& method : methods)
    TL_TRY_STATUS([&]() -> Status {
      for (const auto& info : infos) {
        if (info.method == method) return {};
      }
      return Error{"unknown method \"" + method + "\"", flag, "see `throughline help`"};
    }());
  return {};
}

Result<int> serve_model(Options options) {
  serve::ServerOptions& server = options.server;
  TL_TRY(server.service.defaults, options.flags.fields());
  if (const auto logprobs = server.service.defaults.logprobs; logprobs && *logprobs > server.service.max_logprobs)
    return Error{"is over --max-logprobs", "--logprobs", "lower it or raise --max-logprobs"};
  if (!options.key_file.empty()) TL_TRY_STATUS(add_keys(options.key_file, server.service));
  for (const auto& key : server.service.api_keys) {
    if (key.empty()) return Error{"is empty", "--api-key", ""};
  }
  TL_TRY_STATUS(check_methods(server.service.allowed_kv, policy_infos(), "--allow-kv"));
  TL_TRY_STATUS(check_methods(server.service.allowed_think, environment_infos(), "--allow-think"));
  TL_TRY(const int64_t body_bytes, parse_size(options.body_limit, "--body-limit"));
  if (body_bytes < 1024) return Error{"must be at least 1K", "--body-limit", ""};
  server.http.limits.body_bytes = static_cast<size_t>(body_bytes);
  server.service.only_that_name = !options.served_name.empty();
  server.service.model_name = options.served_name.empty() ? model_name(options.model.model) : options.served_name;
  server.service.version = kVersion;
  server.service.page = !options.no_page;
  server.log_level = log_level_of(options.log_level);
  server.log_json = options.log_format == "json";

  TL_TRY(auto model, load_model(options.model));
  TL_TRY_STATUS(check_flags(server.service.defaults, *model));
  const EngineOptions& engine = model->engine->options();
  const std::string plan = fmt::format("context {}, KV memory {:.1f} MiB, {} sequences at once", engine.max_context,
                                       static_cast<double>(engine.kv_memory_bytes) / (1 << 20), engine.batch_max);
  TL_TRY(auto made, serve::Server::create(std::move(model), server));
  const char* scheme = server.http.tls_certificate.empty() ? "http" : "https";
  const std::string host =
      server.http.host.find(':') == std::string::npos ? server.http.host : "[" + server.http.host + "]";
  fmt::print(stderr, "throughline: {} at {}://{}:{} ({})\n", server.service.model_name, scheme, host, made->port(),
             plan);
  std::fflush(stderr);
  watch_hangup();
  made->run(interrupted);
  return 0;
}

void add_server_flags(CLI::App& command, Options& options) {
  serve::ServerOptions& server = options.server;
  const auto group = [](CLI::Option* option, const char* name) { return option->group(name); };
  const char* const kNetwork = "Network";
  group(command.add_option("--host", server.http.host, "address to listen on; 0.0.0.0 and :: are everybody"), kNetwork)
      ->capture_default_str();
  group(command.add_option("--port", server.http.port, "TCP port; 0: any free one"), kNetwork)->capture_default_str();
  group(command.add_option("--tls-cert", server.http.tls_certificate, "certificate chain, PEM; with --tls-key: HTTPS"),
        kNetwork);
  group(command.add_option("--tls-key", server.http.tls_key, "its private key, PEM"), kNetwork);
  group(command.add_option("--http-threads", server.http.threads, "threads that read and write"), kNetwork)
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  group(command.add_option("--max-connections", server.http.max_connections, "more are closed at once"), kNetwork)
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  group(command.add_option("--body-limit", options.body_limit, "bytes of a request's body, at most"), kNetwork)
      ->capture_default_str();
  group(command.add_option("--ping", server.http.ping_s, "a silent stream gets a comment line that often, s"), kNetwork)
      ->check(number_range(0.05, 3600.0))
      ->capture_default_str();
  group(command.add_option("--cors-origin", server.service.cors_origins,
                           "web pages of this origin may call (several times; * is any); none by default"),
        kNetwork)
      ->allow_extra_args(false);
  group(command.add_flag("--no-page", options.no_page, "do not serve the page at /"), kNetwork);

  const char* const kAccess = "Access and load";
  group(command.add_option("--api-key", server.service.api_keys, "key that clients must send (several times)"), kAccess)
      ->allow_extra_args(false)
      ->envname("THROUGHLINE_API_KEY");
  group(command.add_option("--api-key-file", options.key_file,
                           "file of keys, one a line; behind a key: priority=N, its own --priority-limit"),
        kAccess);
  group(command.add_option("--priority-limit", server.service.priority_limit,
                           "the most urgent \"priority\" that requests get (lower is more urgent)"),
        kAccess)
      ->check(CLI::Range(-serve::kMostPriority, serve::kMostPriority))
      ->capture_default_str();
  group(command.add_option("--turn-tokens", options.model.turn_tokens,
                           "tokens of a turn while not all requests can run at once; 0: the first come goes on"),
        kAccess)
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30))
      ->capture_default_str();
  group(command.add_option("--rate-limit", server.service.requests_per_minute,
                           "requests a minute for each key (without keys: each address); 0: no limit"),
        kAccess)
      ->check(number_range(0.0, 1e9))
      ->capture_default_str();
  group(command.add_option("--max-queue", server.driver.max_queue,
                           "samples that may wait beyond --batch-max; then 429 with Retry-After"),
        kAccess)
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  group(command.add_option("--max-logprobs", server.service.max_logprobs,
                           "candidates a token that logprobs, top_logprobs and prompt_logprobs may ask for"),
        kAccess)
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  group(command.add_option("--request-timeout", server.service.timeout_s, "seconds a request may take; 0: any"),
        kAccess)
      ->check(number_range(0.0, 1e9))
      ->capture_default_str();
  group(command.add_option("--drain", server.drain_s, "seconds that requests under way may take after SIGTERM"),
        kAccess)
      ->check(number_range(0.0, 1e6))
      ->capture_default_str();

  const char* const kModel = "What is served";
  group(command.add_option("--served-model-name", options.served_name,
                           "the model's name; requests for others get 404 (default: any name is taken)"),
        kModel);
  group(command.add_option("--allow-kv", server.service.allowed_kv, "KV methods that requests may name: full,rpc"),
        kModel)
      ->delimiter(',')
      ->allow_extra_args(false);
  group(command.add_option("--allow-think", server.service.allowed_think, "environments that requests may name"),
        kModel)
      ->delimiter(',')
      ->allow_extra_args(false);
  group(command.add_option("--log-level", options.log_level, "debug, info, warn, error or off"), kModel)
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  group(command.add_option("--log-format", options.log_format, "json or text"), kModel)
      ->check(CLI::IsMember({"json", "text"}))
      ->capture_default_str();
}

}  // namespace

void add_serve_command(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("serve", "OpenAI-compatible server, with a page to chat and look inside");
  command->footer(
      "Routes, fields and examples: docs/server.md. SIGTERM, SIGHUP and Ctrl-C drain it; a second one ends at once.");
  options->model.park_memory = "1G";  // whoever gives way, or has had its turn, loses no work
  options->model.add_to(*command);
  add_server_flags(*command, *options);
  options->flags.add_to(*command, "Defaults for requests that do not say it themselves");
  command->callback([options, exit_status] { *exit_status = report(serve_model(*options)); });
}

}  // namespace throughline

#include "serve/server.h"

#include <chrono>
#include <thread>

namespace throughline::serve {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kTick = std::chrono::milliseconds(100);
constexpr double kLastWords = 5;  // seconds for cancelled answers to be written

// Whether `done` came true before the time was over.
bool wait_for(double seconds, const std::function<bool()>& done) {
  const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (!done()) {
    if (Clock::now() >= until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.compare(0, 4, "127.") == 0;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::create(std::unique_ptr<LoadedModel> model, const ServerOptions& options) {
  std::unique_ptr<Server> out(new Server());
  out->options_ = options;
  out->model_ = std::move(model);
  out->log_ = std::make_unique<ServerLog>(options.log_level, options.log_json);
  out->driver_ = std::make_unique<EngineDriver>(out->model_->engine.get(), options.driver, out->log_.get());
  ServiceOptions service_options = options.service;
  service_options.local_pages_only = is_loopback(options.http.host) && options.service.api_keys.empty();
  out->service_ =
      std::make_unique<Service>(out->model_.get(), out->driver_.get(), std::move(service_options), out->log_.get());
  Service* const service = out->service_.get();
  TL_TRY(out->http_,
         HttpServer::create(
             options.http, [service](const HttpRequest& request) { return service->handle(request); },
             [service](HttpResponse& fault, const std::string& peer) { service->complete_fault(fault, peer); }));
  return out;
}

Server::~Server() {
  if (http_) http_->stop();  // its replies give up their requests
  if (service_) service_->active().cancel_all(FinishDetail::kCancelled);
  http_.reset();
  driver_.reset();  // after the last callback nothing refers to the service
}

uint16_t Server::port() const { return http_->port(); }

void Server::run(const std::function<bool()>& stop_asked) {
  http_->start();
  while (!stop_asked()) std::this_thread::sleep_for(kTick);
  drain();
}

void Server::drain() {
  const auto idle = [this] { return service_->active().empty(); };
  log_->write(LogLevel::kInfo, "draining", {{"connections", http_->connections()}});
  service_->begin_drain();  // connections are still taken, and told so
  if (!wait_for(options_.drain_s, idle)) {
    service_->active().cancel_all(FinishDetail::kCancelled);
    wait_for(kLastWords, idle);
  }
  http_->stop();
  log_->write(LogLevel::kInfo, "stopped", Json::object());
}

}  // namespace throughline::serve

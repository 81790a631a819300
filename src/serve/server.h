// The whole server: engine driver, routes and sockets, from start to drained end.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/loaded_model.h"
#include "serve/http_server.h"
#include "serve/service.h"

namespace throughline::serve {

struct ServerOptions {
  HttpServerOptions http;
  ServiceOptions service;
  DriverOptions driver;
  double drain_s = 30;  // what runs may take so long to end after a stop; then it is cancelled
  LogLevel log_level = LogLevel::kInfo;
  bool log_json = true;
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(std::unique_ptr<LoadedModel> model, const ServerOptions& options);
  ~Server();
  uint16_t port() const;
  // Serves until `stop_asked` says so (looked at ten times a second), then takes nothing new, lets what runs end,
  // cancels what is left after drain_s, and returns when every answer is written or given up.
  void run(const std::function<bool()>& stop_asked);

 private:
  Server() = default;
  void drain();

  ServerOptions options_;
  std::unique_ptr<LoadedModel> model_;
  std::unique_ptr<ServerLog> log_;
  std::unique_ptr<EngineDriver> driver_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace throughline::serve

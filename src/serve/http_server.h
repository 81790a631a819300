// Sockets: accepts connections, reads requests, writes answers as they come about, sees clients leave.
//
// A few threads serve any number of connections, each on a strand of its own (Boost.Asio, C++20 coroutines; g++ only).
// A connection always has one read open, so a client that goes away while its answer is computed is noticed at once.
// Every wait has a limit: the header and body, an idle connection, a write that does not move.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "serve/http_parser.h"

namespace throughline::serve {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // 0: any free one
  int threads = 2;
  HttpLimits limits;
  double request_timeout_s = 30;  // from the first byte to the last
  double idle_timeout_s = 75;     // of a kept connection
  double write_timeout_s = 60;    // without a byte taken
  double ping_s = 15;             // a silent stream gets a comment that often
  int64_t max_connections = 4096;
  std::string tls_certificate, tls_key;  // PEM files; both or neither
};

class HttpServer {
 public:
  // Binds and listens, so that errors are known at once; serves from run() on.
  static Result<std::unique_ptr<HttpServer>> create(const HttpServerOptions& options, Handler handler,
                                                    FaultHandler on_fault);
  ~HttpServer();
  uint16_t port() const;
  void start();           // its threads
  void stop_accepting();  // connections that have no request under way are closed
  int64_t connections() const;
  void stop();  // closes everything and joins

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace throughline::serve

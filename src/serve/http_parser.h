// The bytes of one connection as HTTP/1.1 requests, with limits: Boost.Beast's parser behind a plain face.
//
// feed() takes what has arrived; bytes beyond the first whole request are kept for the next. Limits are checked as
// bytes arrive, so nothing larger is ever held. Torch-free, no sockets: fuzz/http_fuzz.cc. One connection, one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "serve/http_types.h"

namespace throughline::serve {

struct HttpLimits {
  size_t header_bytes = 32 << 10;
  size_t body_bytes = 16 << 20;
};

class HttpParser {
 public:
  explicit HttpParser(const HttpLimits& limits);
  ~HttpParser();

  enum class State { kNeedMore, kDone, kBad };
  State feed(std::string_view bytes);
  // Bytes of the next request arrived with the last one: look at them before reading more.
  State resume() { return feed({}); }
  bool idle() const;                  // no byte of a request has arrived
  size_t kept_bytes() const;          // arrived and not yet parsed
  bool wants_continue();              // once: the client waits for "100 Continue" before it sends the body
  HttpRequest take();                 // REQUIRES: kDone. The parser then begins the next request
  const HttpResponse& fault() const;  // REQUIRES: kBad. The connection cannot go on

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace throughline::serve

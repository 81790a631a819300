// Requests and answers as the routes see them: no sockets, no Boost.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace throughline::serve {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method, path, query;  // path: up to '?', percent-decoded
  Headers headers;                  // names in lower case
  std::string body;
  std::string peer;         // the client's address
  bool keep_alive = true;   // as the client asked
  bool chunks_body = true;  // false: HTTP/1.0, which ends a streamed body by closing

  // The first of that name (lower case); empty when it is not there.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  Headers headers;
};

// An answer that comes about while the engine works. Its connection is told by `wake` when there is more, and asks.
// wake may be called from any thread; all else belongs to the connection. Destroyed when it is written or given up.
class Reply {
 public:
  virtual ~Reply() = default;
  virtual void set_wake(std::function<void()> wake) = 0;
  // Streamed: status 200 and text/event-stream go out at once, then what pull() appends; true: that was all.
  virtual bool streamed() const = 0;
  virtual bool pull(std::string& out) = 0;
  // Not streamed: the whole answer, once it is there.
  virtual std::optional<HttpResponse> poll() = 0;
  // The client has gone.
  virtual void abandon() = 0;
};

struct Answer {
  HttpResponse now;              // or, beside `later`, the headers that its answer gets too
  std::unique_ptr<Reply> later;  // null: `now` is the answer
};

using Handler = std::function<Answer(const HttpRequest&)>;
// Completes the answer to bytes that were no request, or none in time.
using FaultHandler = std::function<void(HttpResponse& fault, const std::string& peer)>;

std::string_view reason_phrase(int status);
HttpResponse json_response(int status, const Json& body);
// {"error":{"message","type","param","code"}}; empty param and code are null.
HttpResponse error_response(int status, const std::string& message, const std::string& param = "",
                            const std::string& code = "");

// One event of a stream: "data: ...\n\n". `json` is one line.
void write_event(std::string& out, std::string_view json);
// With its name, as /v1/responses has them.
void write_event(std::string& out, std::string_view name, std::string_view json);

// "%41b" -> "Ab"; nullopt for what is not well formed, or holds a zero byte.
std::optional<std::string> percent_decoded(std::string_view text);

}  // namespace throughline::serve

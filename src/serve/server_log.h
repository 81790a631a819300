// The server's log: one JSON object a line on standard error, {"time","level","event",...}. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "base/json.h"

namespace throughline::serve {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

class ServerLog {
 public:
  // `as_json`: else "event key=value ...", for people.
  ServerLog(LogLevel level, bool as_json);
  ~ServerLog();
  void write(LogLevel level, const std::string& event, const Json& fields);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace throughline::serve

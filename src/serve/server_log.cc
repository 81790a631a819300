#include "serve/server_log.h"

#include <fmt/chrono.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <chrono>

namespace throughline::serve {
namespace {

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      break;
  }
  return spdlog::level::off;
}

std::string now_text() {
  const auto now = std::chrono::system_clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)), ms);
}

}  // namespace

struct ServerLog::Impl {
  spdlog::logger logger{"serve", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
  bool as_json = true;
};

ServerLog::ServerLog(LogLevel level, bool as_json) : impl_(std::make_unique<Impl>()) {
  impl_->as_json = as_json;
  impl_->logger.set_level(level_of(level));
  impl_->logger.set_pattern("%v");
  impl_->logger.flush_on(spdlog::level::debug);
}

ServerLog::~ServerLog() = default;

void ServerLog::write(LogLevel level, const std::string& event, const Json& fields) {
  const auto wanted = level_of(level);
  if (!impl_->logger.should_log(wanted)) return;
  const auto word = spdlog::level::to_string_view(wanted);
  std::string line;
  if (impl_->as_json) {
    Json all = {{"time", now_text()}, {"level", std::string(word.data(), word.size())}, {"event", event}};
    all.update(fields);
    line = dump_json(all);
  } else {
    line = now_text().substr(11, 8) + " " + event;
    for (const auto& [key, value] : fields.items()) {
      if (value.is_null()) continue;
      // Strings of clients stay quoted: a line break in one must not look like a line of ours.
      line.append("  ").append(key).append(" ").append(dump_json(value));
    }
  }
  impl_->logger.log(wanted, "{}", line);
}

}  // namespace throughline::serve

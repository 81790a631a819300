// The requests under way, for /requests and abort by id. Thread-safe.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "serve/answer_stream.h"
#include "serve/engine_driver.h"

namespace throughline::serve {

struct ActiveRequest {
  std::string id, kind;  // kind: chat, completion, response
  int64_t created = 0;   // Unix time, s
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
  bool stream = false;
  int64_t priority = 0;
  std::string kv, think;
  int64_t prompt_tokens = 0;
  std::shared_ptr<AnswerStream> answer;
  std::vector<EngineDriver::Ticket> tickets;
};

class ActiveRequests {
 public:
  explicit ActiveRequests(EngineDriver* driver) : driver_(driver) {}
  void add(std::shared_ptr<const ActiveRequest> request);
  void remove(const std::string& id);
  bool cancel(const std::string& id, FinishDetail detail);
  void cancel_all(FinishDetail detail);
  bool empty() const;
  Json list() const;

 private:
  EngineDriver* driver_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const ActiveRequest>> requests_;
};

}  // namespace throughline::serve

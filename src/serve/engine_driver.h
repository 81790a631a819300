// The one thread that steps an engine, and the bounded queue before it.
//
// A request needs room first: batch_max samples may run and max_queue wait; beyond that it is refused with the seconds
// after which to try again. Its callbacks come on the driver's thread and must not call the driver. All methods are
// thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/stopwatch.h"
#include "engine/engine.h"
#include "serve/server_log.h"

namespace throughline::serve {

struct DriverOptions {
  int64_t max_queue = 256;  // samples that may wait beyond those that run
};

struct DriverState {
  EngineStats engine;
  double tokens_per_s = 0;  // over the last seconds
  int64_t open = 0;         // samples taken and not ended
};

class EngineDriver {
 public:
  using Ticket = Engine::Ticket;
  // Both must outlive the driver; nobody else may call `engine` meanwhile.
  EngineDriver(Engine* engine, const DriverOptions& options, ServerLog* log);
  ~EngineDriver();  // runs what is left to its end: cancel it before

  // Room for so many samples: 0 when it is granted, else seconds after which to try again. What was granted goes back
  // as samples end, or by give_back().
  int reserve(int64_t samples);
  void give_back(int64_t samples);
  int64_t most_samples() const;  // that can ever be granted at once

  // Checks and queues it. REQUIRES: room for request.samples.
  Result<Ticket> submit(Request request, const std::string& where);
  void cancel(Ticket ticket, FinishDetail detail);
  DriverState state() const;

 private:
  void run();
  void fail(const std::exception& failure);
  void publish();
  void wake();

  Engine* engine_;
  DriverOptions options_;
  ServerLog* log_;
  int64_t batch_max_;
  std::atomic<int64_t> open_{0};

  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable work_;
  bool has_work_ = false, stopping_ = false;
  DriverState state_;
  int64_t steps_short_of_memory_ = 0;  // in a row
  double sample_seconds_ = 1;          // mean time from submission to end, recent ones weigh more
  Stopwatch rate_watch_;               // since rate_tokens_ was read
  int64_t rate_tokens_ = 0;

  std::thread thread_;
};

}  // namespace throughline::serve

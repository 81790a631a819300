#include "serve/engine_driver.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>

namespace throughline::serve {

EngineDriver::EngineDriver(Engine* engine, const DriverOptions& options, ServerLog* log)
    : engine_(engine), options_(options), log_(log), batch_max_(engine->options().batch_max) {
  state_.engine = engine->stats();
  thread_ = std::thread([this] { run(); });
}

EngineDriver::~EngineDriver() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    has_work_ = true;
  }
  work_.notify_one();
  thread_.join();
}

int64_t EngineDriver::most_samples() const { return batch_max_ + options_.max_queue; }

int EngineDriver::reserve(int64_t samples) {
  const std::lock_guard lock(mutex_);
  // When places in the batch stay free while samples wait, they wait for memory: then only max_queue may.
  constexpr int kSteps = 8;  // a chunk's end, too, leaves its place for a step
  const bool short_of_memory = steps_short_of_memory_ >= kSteps;
  const int64_t limit =
      options_.max_queue + (short_of_memory ? std::max<int64_t>(1, state_.engine.running) : batch_max_);
  const int64_t open = open_.load();
  if (open + samples <= limit) {
    open_ += samples;
    return 0;
  }
  const double ahead = static_cast<double>(open + samples - limit);
  const double rate = static_cast<double>(std::max<int64_t>(1, state_.engine.running)) / sample_seconds_;
  return static_cast<int>(std::clamp(std::ceil(ahead / rate), 1.0, 60.0));
}

void EngineDriver::give_back(int64_t samples) { open_ -= samples; }

Result<EngineDriver::Ticket> EngineDriver::submit(Request request, const std::string& where) {
  request.on_finish = [this, began = Stopwatch(), inner = std::move(request.on_finish)](SampleResult result) {
    give_back(1);
    {
      const std::lock_guard lock(mutex_);
      sample_seconds_ += 0.1 * (began.seconds() - sample_seconds_);
    }
    if (inner) inner(std::move(result));
  };
  TL_TRY(const Ticket ticket, engine_->submit(std::move(request), where));
  wake();
  return ticket;
}

void EngineDriver::cancel(Ticket ticket, FinishDetail detail) {
  engine_->cancel(ticket, detail);
  wake();
}

void EngineDriver::wake() {
  {
    const std::lock_guard lock(mutex_);
    has_work_ = true;
  }
  work_.notify_one();
}

DriverState EngineDriver::state() const {
  const std::lock_guard lock(mutex_);
  DriverState out = state_;
  out.open = open_.load();
  return out;
}

void EngineDriver::publish() {
  const EngineStats stats = engine_->stats();
  const std::lock_guard lock(mutex_);
  state_.engine = stats;
  const bool is_short = stats.waiting > 0 && stats.running < batch_max_;
  steps_short_of_memory_ = is_short ? steps_short_of_memory_ + 1 : 0;
  const double seconds = rate_watch_.seconds();
  if (seconds < 1) return;
  state_.tokens_per_s = static_cast<double>(stats.sampled_tokens - rate_tokens_) / seconds;
  rate_tokens_ = stats.sampled_tokens;
  rate_watch_ = Stopwatch();
}

// The next step would throw the same: all who wait are told, and the engine goes on idle.
void EngineDriver::fail(const std::exception& failure) {
  const std::string error = internal_error(failure);
  log_->write(LogLevel::kError, "engine_failed", {{"error", error}});
  try {
    engine_->fail_all(error);
  } catch (const std::exception& of_callback) {
    log_->write(LogLevel::kError, "callback_failed", {{"error", internal_error(of_callback)}});
  }
}

void EngineDriver::run() {
  while (true) {
    bool worked = false;
    try {
      worked = engine_->step();
    } catch (const std::exception& failure) {
      fail(failure);
    }
    publish();
    std::unique_lock lock(mutex_);
    if (stopping_ && !worked) return;
    if (stopping_ || worked) continue;
    // Every second at least: the rate of tokens falls to zero also when nobody asks for any.
    work_.wait_for(lock, std::chrono::seconds(1), [this] { return has_work_; });
    has_work_ = false;
  }
}

}  // namespace throughline::serve

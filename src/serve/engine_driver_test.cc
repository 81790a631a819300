#include "serve/engine_driver.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <future>
#include <new>

#include "engine/engine_fixture.h"

namespace throughline::serve {
namespace {

// Lets so many samples begin; then memory is short, whoever asks.
class ShortOfMemory : public Environment {
 public:
  explicit ShortOfMemory(int64_t good)
      : Environment(parse_spec("longcot", environment_infos(), "test").value()), left_(good) {}
  int64_t chunk_limit(int64_t /*chunk*/) const override {
    if (left_-- > 0) return kUnlimited;
    throw std::bad_alloc();
  }

 private:
  mutable std::atomic<int64_t> left_;
};

class EngineDriverTest : public ::testing::Test {
 protected:
  void submit(Request request) {
    ASSERT_EQ(driver_.reserve(request.samples), 0);
    request.on_finish = [this](SampleResult result) {
      const std::lock_guard lock(mutex_);
      ended_.push_back(std::move(result));
      changed_.notify_one();
    };
    ASSERT_TRUE(driver_.submit(std::move(request), "test").ok());
  }
  // The first so many that ended.
  std::vector<SampleResult> wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return ended_.size() >= count; }));
    return std::exchange(ended_, {});
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SampleResult> ended_;
  TinyModel model_ = TinyModel::load(THROUGHLINE_SOURCE_DIR "/tests/golden/model/qwen2-gqa-tied");
  std::unique_ptr<Engine> engine_ = model_.engine();
  ServerLog log_{LogLevel::kError, true};
  EngineDriver driver_{engine_.get(), {}, &log_};
};

TEST_F(EngineDriverTest, WhatTheEngineThrowsEndsAllThatWaitAndIsLoggedOnce) {
  testing::internal::CaptureStderr();
  std::promise<void> all_submitted;
  Request running = greedy_request({1, 2, 3}, 50);
  running.on_progress = [all = all_submitted.get_future().share()](const SampleProgress&) { all.wait(); };
  submit(std::move(running));
  Request failing = greedy_request({1, 2, 3}, 5);
  failing.samples = 3;
  failing.environment = std::make_shared<ShortOfMemory>(1);  // the second of them cannot begin
  submit(std::move(failing));
  all_submitted.set_value();
  const auto ended = wait_for(4);
  ASSERT_EQ(ended.size(), 4);
  std::vector<int64_t> samples;
  for (const SampleResult& result : ended) {
    EXPECT_EQ(result.trace.finish, FinishDetail::kInternal);
    EXPECT_EQ(result.error, "internal error: std::bad_alloc");
    EXPECT_EQ(result.trace.chunks.size(), 1);
    samples.push_back(result.sample);
  }
  std::sort(samples.begin(), samples.end());
  EXPECT_EQ(samples, (std::vector<int64_t>{0, 0, 1, 2}));

  submit(greedy_request({1, 2, 3}, 5));  // the engine goes on
  const auto next = wait_for(1);
  ASSERT_EQ(next.size(), 1);
  EXPECT_EQ(next[0].trace.finish, FinishDetail::kMaxTokens);
  EXPECT_EQ(driver_.state().open, 0);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find(R"("event":"engine_failed","error":"internal error: std::bad_alloc")"), std::string::npos) << log;
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

TEST_F(EngineDriverTest, ErrorsAreOneLineWithoutABacktrace) {
  Request request = greedy_request({1, 2, 3}, 5);
  request.on_progress = [](const SampleProgress&) { TORCH_CHECK(false, "no room\nfor this"); };
  submit(std::move(request));
  const auto ended = wait_for(1);
  ASSERT_EQ(ended.size(), 1);
  EXPECT_EQ(ended[0].trace.finish, FinishDetail::kInternal);
  EXPECT_EQ(ended[0].error, "internal error: no room");
}

}  // namespace
}  // namespace throughline::serve

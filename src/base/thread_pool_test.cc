// The pool: every task once, whatever the count and the threads; nested runs; exceptions; sleeping and waking.
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <numeric>
#include <set>
#include <stdexcept>

namespace throughline {
namespace {

TEST(ThreadPool, EveryTaskRunsOnce) {
  ThreadPool pool;
  for (const int threads : {1, 2, 3, 8}) {
    for (const int64_t count : {0, 1, 2, 3, 7, 64, 1000}) {
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<int> times(count, 0);
        pool.run(count, threads, [&](int64_t i) { ++times[i]; });
        EXPECT_EQ(times, std::vector<int>(count, 1)) << threads << " threads";
      }
    }
  }
}

TEST(ThreadPool, ManyShortRunsSeeEachOthersResults) {
  ThreadPool pool;
  std::vector<int64_t> values(16, 0), next(16, 0);
  for (int run = 0; run < 20000; ++run) {
    pool.run(16, 3, [&](int64_t i) { next[i] = values[i] + (values[(i + 1) % 16] >= 0 ? i : -1000000); });
    values.swap(next);
  }
  for (int64_t i = 0; i < 16; ++i) EXPECT_EQ(values[i], 20000 * i);
}

TEST(ThreadPool, RunsWithinTasksAreSerial) {
  ThreadPool pool;
  std::atomic<int64_t> sum{0};
  pool.run(8, 4, [&](int64_t i) {
    EXPECT_TRUE(ThreadPool::inside_task());
    int64_t inner = 0;
    ThreadPool::of_this_thread().run(10, 4, [&](int64_t j) { inner += j; });  // a data race, were it not serial
    sum += inner + i;
  });
  EXPECT_EQ(sum, 8 * 45 + 28);
  EXPECT_FALSE(ThreadPool::inside_task());
}

TEST(ThreadPool, ThrowsTheTasksException) {
  ThreadPool pool;
  std::atomic<int> ran{0};
  const auto task = [&](int64_t i) {
    ++ran;
    if (i == 3) throw std::runtime_error("three");
  };
  EXPECT_THROW(pool.run(10, 3, task), std::runtime_error);
  EXPECT_EQ(ran, 10);
  pool.run(10, 3, [&](int64_t) { ++ran; });  // and goes on
  EXPECT_EQ(ran, 20);
}

TEST(ThreadPool, IdleThreadsTakeNoProcessorAndWakeAgain) {
  ThreadPool pool;
  std::atomic<int64_t> sum{0};
  pool.run(100, 4, [&](int64_t i) { sum += i; });
  const std::clock_t before = std::clock();  // processor time of the whole process
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.1);
  pool.run(100, 4, [&](int64_t i) { sum += i; });
  EXPECT_EQ(sum, 2 * 4950);
}

TEST(ThreadPool, EachCallingThreadHasItsOwn) {
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c) {
    callers.emplace_back([&] {
      for (int run = 0; run < 200; ++run) ThreadPool::of_this_thread().run(10, 3, [&](int64_t i) { sum += i; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 3 * 200 * 45);
}

}  // namespace
}  // namespace throughline

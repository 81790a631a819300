#include "base/thread_pool.h"

#include <chrono>
#include <limits>

#include "base/result.h"

namespace throughline {
namespace {

// Longer than the serial stretches between the runs of a decode step (bench/thread_pool_bench: 1 to 10 us), shorter
// than what a scheduler would notice.
constexpr int64_t kSpinMicroseconds = 50;
constexpr int kLooksBetweenClocks = 32;

thread_local bool in_task = false;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Looks for kSpinMicroseconds; true if `seen` came true.
template <class Seen>
bool spin(const Seen& seen) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(kSpinMicroseconds);
  do {
    for (int i = 0; i < kLooksBetweenClocks; ++i) {
      if (seen()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return seen();
}

}  // namespace

ThreadPool& ThreadPool::of_this_thread() {
  static thread_local ThreadPool pool;
  return pool;
}

bool ThreadPool::inside_task() { return in_task; }

ThreadPool::~ThreadPool() {
  stop_ = true;
  ++runs_;
  runs_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

bool ThreadPool::take(int index) {
  uint32_t left = remaining_.load(std::memory_order_acquire);
  while (true) {
    if (left == 0 || index >= helpers_wanted_.load(std::memory_order_relaxed)) return false;
    if (remaining_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel)) break;
  }
  in_task = true;
  const uint32_t count = count_.load(std::memory_order_relaxed);
  try {
    call_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), count - left);
  } catch (...) {
    if (!failed_.exchange(true)) failure_ = std::current_exception();
  }
  in_task = false;
  // Sequentially consistent with the caller's setting of caller_sleeps_ and its last look at done_.
  if (done_.fetch_add(1) + 1 == count && caller_sleeps_.load()) done_.notify_one();
  return true;
}

void ThreadPool::run_shared(int64_t count, int threads, Call call, const void* context) {
  TL_CHECK(count <= std::numeric_limits<uint32_t>::max(), "too many tasks");
  while (static_cast<int>(helpers_.size()) < threads - 1) {
    const int index = static_cast<int>(helpers_.size());
    helpers_.emplace_back([this, index] { work(index); });
  }
  failed_.store(false, std::memory_order_relaxed);
  count_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
  helpers_wanted_.store(threads - 1, std::memory_order_relaxed);
  call_.store(call, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  remaining_.store(static_cast<uint32_t>(count), std::memory_order_release);
  runs_.fetch_add(1);
  if (sleepers_.load() > 0) runs_.notify_all();
  while (take(-1)) {
  }
  wait_for_the_end();
  if (failed_.load(std::memory_order_acquire)) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::wait_for_the_end() {
  const uint32_t count = count_.load(std::memory_order_relaxed);
  if (spin([&] { return done_.load(std::memory_order_acquire) == count; })) return;
  caller_sleeps_.store(true);
  for (uint32_t done = done_.load(); done != count; done = done_.load()) done_.wait(done);
  caller_sleeps_.store(false, std::memory_order_relaxed);
}

void ThreadPool::wait_for_work(uint32_t seen) {
  if (spin([&] { return runs_.load(std::memory_order_acquire) != seen; })) return;
  sleepers_.fetch_add(1);
  runs_.wait(seen);
  sleepers_.fetch_sub(1);
}

void ThreadPool::work(int index) {
  uint32_t seen = 0;
  while (true) {
    wait_for_work(seen);
    seen = runs_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    while (take(index)) {
    }
  }
}

}  // namespace throughline

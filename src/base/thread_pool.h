// Threads that stay: run() gives a number of small tasks to the caller and to threads that were started once.
//
// Made for work of tens of microseconds, many times a step. A thread that runs out of work looks for more for
// kSpinMicroseconds and then sleeps, so an idle pool takes no processor and a busy neighbour on the machine costs us
// its own share and little more: tasks are taken one by one, and a run waits only for tasks that were begun, never for
// a thread that has not woken. A run starts no thread (but the first of a size) and allocates nothing.
//
// Threads: one caller at a time; a run() within a task is serial. Tasks may throw: the first exception is thrown to the
// caller when all tasks have ended. Results must not depend on which thread ran a task.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

namespace throughline {

class ThreadPool {
 public:
  ThreadPool() = default;
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // The calling thread's own pool, made at its first use and ended with the thread.
  static ThreadPool& of_this_thread();
  static bool inside_task();  // of any pool
  int64_t runs() const { return runs_.load(std::memory_order_relaxed); }  // shared out so far (mod 2^32)

  // task(i) for every i in [0, count), on at most `threads` threads, the caller's being one.
  template <class Task>
  void run(int64_t count, int threads, const Task& task) {
    if (count <= 1 || threads <= 1 || inside_task()) {
      for (int64_t i = 0; i < count; ++i) task(i);
      return;
    }
    run_shared(
        count, threads, [](const void* context, int64_t i) { (*static_cast<const Task*>(context))(i); }, &task);
  }

 private:
  using Call = void (*)(const void* context, int64_t i);

  void run_shared(int64_t count, int threads, Call call, const void* context);
  void work(int index);     // a helper's life
  bool take(int index);     // one task; false: there is none for thread `index`
  void wait_for_the_end();  // of the tasks that others have begun
  void wait_for_work(uint32_t seen);

  // Tasks not yet taken. Taking one is a compare-and-swap, and a run ends only when its tasks are done: whoever took
  // one may read the fields below it.
  alignas(64) std::atomic<uint32_t> remaining_{0};
  std::atomic<uint32_t> count_{0};
  std::atomic<int> helpers_wanted_{0};
  std::atomic<Call> call_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;  // written by whoever set failed_ first
  alignas(64) std::atomic<uint32_t> done_{0};
  std::atomic<bool> caller_sleeps_{false};
  alignas(64) std::atomic<uint32_t> runs_{0};  // what sleeping helpers watch
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> helpers_;
};

}  // namespace throughline

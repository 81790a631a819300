// Loops over the threads of the calling thread's pool, at::get_num_threads() of them. All of ops/ and what stands on it
// runs here and not on OpenMP: one team of threads to a step, which sleeps soon when it is idle (base/thread_pool.h).
//
// f must work on raw memory: an ATen operator called within it would start a team of OpenMP threads on a helper thread.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "base/thread_pool.h"

namespace throughline::ops {

inline int thread_count() { return ThreadPool::inside_task() || at::in_parallel_region() ? 1 : at::get_num_threads(); }

// task(i) for i in [0, count): for tasks of unlike size.
template <class Task>
void run_tasks(int64_t count, const Task& task) {
  ThreadPool::of_this_thread().run(count, count <= 1 ? 1 : thread_count(), task);
}

// f(from, to) over pieces of [begin, end) of at least `grain`; a few to a thread, to even out threads that are
// disturbed.
template <class F>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const F& f) {
  constexpr int64_t kPiecesPerThread = 4;
  const int64_t count = end - begin;
  if (count <= 0) return;
  if (count <= grain) return f(begin, end);
  const int threads = thread_count();
  if (threads == 1) return f(begin, end);
  const int64_t pieces = std::min((count + grain - 1) / std::max<int64_t>(1, grain), threads * kPiecesPerThread);
  ThreadPool::of_this_thread().run(pieces, threads,
                                   [&](int64_t i) { f(begin + count * i / pieces, begin + count * (i + 1) / pieces); });
}

}  // namespace throughline::ops

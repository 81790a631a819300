// Running many tasks of unlike size on ATen's threads, and the scratch they use. Internal to ops/cpu.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/result.h"

namespace throughline::ops::cpu {

// Memory that stays with its thread from call to call: a decode step allocates nothing.
class FloatBuffer {
 public:
  float* at_least(int64_t floats) {
    if (floats > capacity_) {
      const size_t bytes = (floats * sizeof(float) + 63) / 64 * 64;
      data_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
      TL_CHECK(data_ != nullptr, "out of memory");
      capacity_ = floats;
    }
    return data_.get();
  }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  int64_t capacity_ = 0;
};

// Runs task(i) for all i on ATen's threads, each taking the next when it is free.
template <class Task>
void run_tasks(int64_t count, const Task& task) {
  if (count == 0) return;
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), count);
  std::atomic<int64_t> next{0};
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t i = next++; i < count; i = next++) task(i);
  });
}

}  // namespace throughline::ops::cpu

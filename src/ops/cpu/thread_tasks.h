// The scratch of tasks that run on several threads. Internal to ops/.
#pragma once

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

}  // namespace throughline::ops::cpu

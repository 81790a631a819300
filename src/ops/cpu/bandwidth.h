// How fast this machine reads memory right now: the roof under which decoding lives.
//
// Sums a buffer far larger than any cache, on ATen's threads as the kernels do. Shared machines drift by a factor of
// two within minutes, so a benchmark measures this before, between and after its timed runs and divides by the median.
// The buffer stays resident from the first measurement on. Units: 10^9 bytes a second. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace throughline::ops {

class BandwidthMeter {
 public:
  explicit BandwidthMeter(int64_t bytes = 512 << 20);  // rounded up to whole MiB
  ~BandwidthMeter();
  BandwidthMeter(const BandwidthMeter&) = delete;
  BandwidthMeter& operator=(const BandwidthMeter&) = delete;

  int64_t bytes() const { return buffer_ == nullptr ? 0 : bytes_; }
  double read_gb_s(int passes = 5);  // the median of so many passes; 0 if there is no memory for the buffer

 private:
  int64_t bytes_ = 0;
  void* buffer_ = nullptr;
};

}  // namespace throughline::ops

// How fast this machine reads memory right now: the roof under which decoding lives.
//
// Sums a buffer far larger than any cache, on ATen's threads as the kernels do. Shared machines drift by a factor of
// two within minutes, so a benchmark measures this before, between and after its timed runs and divides by the median.
// The buffer (kBandwidthBytes) is mapped and given back by each call. Units: 10^9 bytes a second.
#pragma once

#include <cstdint>

namespace throughline::ops {

constexpr int64_t kBandwidthBytes = 512 << 20;

double read_bandwidth_gb_s(int passes = 5);  // the median of so many passes; 0 if the buffer cannot be had

}  // namespace throughline::ops

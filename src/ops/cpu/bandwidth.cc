#include "ops/cpu/bandwidth.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "ops/cpu/highway_targets.h"
#include "ops/parallel.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/bandwidth.cc"
// clang-format off
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// count is a multiple of 8 vectors. Eight sums, so that adding does not wait for itself.
uint64_t SumWords(const uint64_t* words, int64_t count) {
  const hn::ScalableTag<uint64_t> d;
  constexpr int64_t kLanes = hn::MaxLanes(d);
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (int64_t i = 0; i < count; i += 8 * kLanes) {
    s0 = hn::Add(s0, hn::Load(d, words + i));
    s1 = hn::Add(s1, hn::Load(d, words + i + kLanes));
    s2 = hn::Add(s2, hn::Load(d, words + i + 2 * kLanes));
    s3 = hn::Add(s3, hn::Load(d, words + i + 3 * kLanes));
    s4 = hn::Add(s4, hn::Load(d, words + i + 4 * kLanes));
    s5 = hn::Add(s5, hn::Load(d, words + i + 5 * kLanes));
    s6 = hn::Add(s6, hn::Load(d, words + i + 6 * kLanes));
    s7 = hn::Add(s7, hn::Load(d, words + i + 7 * kLanes));
  }
  s0 = hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)));
  return hn::GetLane(hn::SumOfLanes(d, s0));
}

}  // namespace throughline::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace throughline::ops {

HWY_EXPORT(SumWords);

namespace {
constexpr int64_t kPiece = 1 << 20;
}

BandwidthMeter::BandwidthMeter(int64_t bytes) : bytes_((bytes + kPiece - 1) / kPiece * kPiece) {
  void* buffer = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer == MAP_FAILED) return;
  madvise(buffer, bytes_, MADV_HUGEPAGE);
  std::memset(buffer, 1, bytes_);  // else every page is the one zero page
  buffer_ = buffer;
}

BandwidthMeter::~BandwidthMeter() {
  if (buffer_ != nullptr) munmap(buffer_, bytes_);
}

double BandwidthMeter::read_gb_s(int passes) {
  if (buffer_ == nullptr) return 0;
  constexpr int64_t kWords = kPiece / sizeof(uint64_t);
  std::vector<double> rates;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    parallel_for(0, bytes_ / kPiece, 1, [&](int64_t from, int64_t to) {
      const uint64_t* words = static_cast<const uint64_t*>(buffer_);
      const uint64_t sum = HWY_DYNAMIC_DISPATCH(SumWords)(words + from * kWords, (to - from) * kWords);
      volatile uint64_t sink = sum;  // the reads must happen
      static_cast<void>(sink);
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    rates.push_back(static_cast<double>(bytes_) / seconds.count() / 1e9);
  }
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() / 2];
}

}  // namespace throughline::ops
#endif

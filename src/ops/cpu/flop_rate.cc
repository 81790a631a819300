#include "ops/cpu/flop_rate.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "ops/cpu/highway_targets.h"
#include "ops/parallel.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/flop_rate.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "hwy/highway.h"
#include "ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::HWY_NAMESPACE {

// Enough sums to hide the latency of two units, few enough for AVX2's 16 registers.
constexpr int kSums = 12;

// Returns the operations done.
double MultiplyAdd(int64_t rounds, float* sink) {
  const FloatTag d;
  const FloatVec factor = hn::Set(d, 0.9999f), addend = hn::Set(d, 1e-4f);
  FloatVec sums[kSums];
  TL_UNROLL
  for (int i = 0; i < kSums; ++i) sums[i] = hn::Set(d, static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
    TL_UNROLL
    for (int i = 0; i < kSums; ++i) sums[i] = hn::MulAdd(sums[i], factor, addend);
  }
  *sink = 0;
  TL_UNROLL
  for (int i = 0; i < kSums; ++i) *sink += sum_of_lanes(sums[i]);
  return 2.0 * kSums * static_cast<double>(rounds) * static_cast<double>(lanes());
}

}  // namespace throughline::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace throughline::ops {

HWY_EXPORT(MultiplyAdd);

double multiply_add_gflop_s(int passes) {
  constexpr int64_t kRounds = 1 << 14, kPiecesPerThread = 32;  // a piece is about 50 us
  std::vector<double> rates;
  const int64_t pieces = kPiecesPerThread * thread_count();
  std::vector<double> operations(pieces);
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    run_tasks(pieces, [&](int64_t i) {
      float sum = 0;
      operations[i] = HWY_DYNAMIC_DISPATCH(MultiplyAdd)(kRounds, &sum);
      volatile float sink = sum;  // the work must happen
      static_cast<void>(sink);
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    double all = 0;
    for (const double done : operations) all += done;
    rates.push_back(all / seconds.count() / 1e9);
  }
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() / 2];
}

}  // namespace throughline::ops
#endif  // HWY_ONCE

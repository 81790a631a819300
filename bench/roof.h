// A micro-benchmark's rate beside what the machine can do, measured just before and after its iterations: a counter of
// the rate, one of the machine's, and `roof`, their quotient.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>

#include "ops/cpu/bandwidth.h"
#include "ops/cpu/flop_rate.h"

namespace throughline::ops {

// Begin it when all is ready, finish it behind the iterations.
template <class Machine>
class Roof {
 public:
  Roof() : before_(machine_.rate()), start_(std::chrono::steady_clock::now()) {}

  // `work`: bytes or operations an iteration.
  void finish(benchmark::State& state, double work) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start_;
    const double most = (before_ + machine_.rate()) / 2, rate = work * state.iterations() / seconds.count() / 1e9;
    state.counters[Machine::kUnit] = rate;
    state.counters[Machine::kName] = most;
    state.counters["roof"] = rate / most;
  }

 private:
  Machine machine_;
  double before_;
  std::chrono::steady_clock::time_point start_;
};

struct Memory {
  static constexpr const char *kUnit = "GB/s", *kName = "bw";
  BandwidthMeter meter;
  double rate() { return meter.read_gb_s(); }
};

struct MultiplyAdds {  // of fp32
  static constexpr const char *kUnit = "GFLOP/s", *kName = "fma";
  double rate() { return multiply_add_gflop_s(); }
};

using BytesRoof = Roof<Memory>;
using OperationsRoof = Roof<MultiplyAdds>;

}  // namespace throughline::ops

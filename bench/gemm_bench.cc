// The linear layers' rate against the machine's: bytes of weights a second for few rows, operations for many.
//
//   ./build/release/bench/gemm_bench --benchmark_filter=Few
// Arguments: rows / in / out. `roof` is the rate over the read bandwidth measured just before and after. The weights
// are many times the largest cache and walked in turn.
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <chrono>

#include "ops/cpu/bandwidth.h"
#include "ops/products.h"

namespace throughline::ops {
namespace {

std::vector<LinearWeight> weights_of(int64_t in, int64_t out, int64_t least_bytes) {
  std::vector<LinearWeight> weights;
  const int64_t count = std::max<int64_t>(1, least_bytes / (2 * in * out));
  const at::Tensor all = at::randn({count * out, in}).to(at::kBFloat16);
  for (int64_t i = 0; i < count; ++i) weights.push_back({all.narrow(0, i * out, out), {}});
  return weights;
}

template <class Multiply>
void few(benchmark::State& state, const Multiply& multiply) {
  const c10::InferenceMode inference;
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  const auto weights = weights_of(in, out, 512 << 20);
  const at::Tensor x = at::randn({rows, in}).to(at::kBFloat16);
  BandwidthMeter meter;
  double bandwidth = meter.read_gb_s();
  size_t next = 0;
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    benchmark::DoNotOptimize(multiply(x, weights[next]));
    next = (next + 1) % weights.size();
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  bandwidth = (bandwidth + meter.read_gb_s()) / 2;
  const double rate = 2.0 * in * out * state.iterations() / seconds.count() / 1e9;
  state.counters["GB/s"] = rate;
  state.counters["bw"] = bandwidth;
  state.counters["roof"] = rate / bandwidth;
}

void FewRows(benchmark::State& state) {
  few(state, [](const at::Tensor& x, const LinearWeight& w) { return linears(x, {w}); });
}
void FewRowsAten(benchmark::State& state) {
  few(state, [](const at::Tensor& x, const LinearWeight& w) { return at::linear(x, w.values); });
}
void shapes(benchmark::internal::Benchmark* bench) {
  for (const int64_t rows : {1, 2, 3, 4, 5, 8, 16}) bench->Args({rows, 1024, 3072});
  bench->Args({1, 3072, 1024})->Args({8, 3072, 1024})->Args({1, 1024, 151936});
}
BENCHMARK(FewRows)->Apply(shapes)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(FewRowsAten)->Args({1, 1024, 3072})->Args({8, 1024, 3072})->UseRealTime()->Unit(benchmark::kMicrosecond);

template <class Multiply>
void many(benchmark::State& state, const Multiply& multiply) {
  const c10::InferenceMode inference;
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  const auto weights = weights_of(in, out, 1);
  const at::Tensor x = at::randn({rows, in}).to(at::kBFloat16);
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) benchmark::DoNotOptimize(multiply(x, weights[0]));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  state.counters["GFLOP/s"] = 2.0 * rows * in * out * state.iterations() / seconds.count() / 1e9;
}
void ManyRows(benchmark::State& state) {
  many(state, [](const at::Tensor& x, const LinearWeight& w) { return linears(x, {w}, NumericMode::kFast); });
}
void ManyRowsExact(benchmark::State& state) {
  many(state, [](const at::Tensor& x, const LinearWeight& w) { return linears(x, {w}); });
}
void ManyRowsAten(benchmark::State& state) {
  many(state, [](const at::Tensor& x, const LinearWeight& w) { return at::linear(x, w.values); });
}
void many_shapes(benchmark::internal::Benchmark* bench) {
  for (const int64_t rows : {16, 32, 48, 64, 128, 512, 2048}) bench->Args({rows, 1024, 3072});
  bench->Args({512, 3072, 1024})->Args({512, 1024, 4096});
}
BENCHMARK(ManyRows)->Apply(many_shapes)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(ManyRowsExact)->Apply(many_shapes)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(ManyRowsAten)->Apply(many_shapes)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace throughline::ops

BENCHMARK_MAIN();

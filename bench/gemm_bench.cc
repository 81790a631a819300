// The linear layers' rate against the machine's: bytes of weights a second for few rows, operations for many.
//
//   ./build/release/bench/gemm_bench --benchmark_filter=Few
// Arguments: rows / in / out. `roof` is the rate over the read bandwidth, or the rate of fp32 multiply-adds (which bf16
// instructions pass), measured just before and after. The weights of few rows are many times the largest cache and
// walked in turn.
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include "ops/products.h"
#include "roof.h"

namespace throughline::ops {
namespace {

int64_t bytes_of(const LinearWeight& w) { return w.values.nbytes() + (w.scales.defined() ? w.scales.nbytes() : 0); }

std::vector<LinearWeight> weights_of(int64_t in, int64_t out, int64_t least_bytes,
                                     WeightFormat format = WeightFormat::kPlain) {
  std::vector<LinearWeight> weights;
  if (format == WeightFormat::kPlain) {
    const int64_t count = std::max<int64_t>(1, least_bytes / (2 * in * out));
    const at::Tensor all = at::randn({count * out, in}).to(at::kBFloat16);
    for (int64_t i = 0; i < count; ++i) weights.push_back({all.narrow(0, i * out, out), {}});
    return weights;
  }
  const QuantizedWeight one = quantize_weight(at::randn({out, in}), format);
  do {
    weights.push_back({{one.values.clone(), one.scales.clone()}, {}, format, out, in});
  } while (static_cast<int64_t>(weights.size()) * bytes_of(weights[0]) < least_bytes);
  return weights;
}

template <class Multiply>
void few(benchmark::State& state, WeightFormat format, const Multiply& multiply) {
  const c10::InferenceMode inference;
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  const auto weights = weights_of(in, out, 512 << 20, format);
  const at::Tensor x = at::randn({rows, in}).to(at::kBFloat16);
  size_t next = 0;
  BytesRoof roof;
  for (auto _ : state) {
    benchmark::DoNotOptimize(multiply(x, weights[next]));
    next = (next + 1) % weights.size();
  }
  roof.finish(state, static_cast<double>(bytes_of(weights[0])));
}

std::vector<at::Tensor> ours(const at::Tensor& x, const LinearWeight& w) { return linears(x, {w}); }
void FewRows(benchmark::State& state) { few(state, WeightFormat::kPlain, ours); }
void FewRowsInt8(benchmark::State& state) { few(state, WeightFormat::kInt8, ours); }
void FewRowsInt4(benchmark::State& state) { few(state, WeightFormat::kInt4, ours); }
void FewRowsAten(benchmark::State& state) {
  few(state, WeightFormat::kPlain, [](const at::Tensor& x, const LinearWeight& w) { return at::linear(x, w.values); });
}
void shapes(benchmark::internal::Benchmark* bench) {
  for (const int64_t rows : {1, 2, 3, 4, 5, 8, 16}) bench->Args({rows, 1024, 3072});
  bench->Args({1, 3072, 1024})->Args({8, 3072, 1024})->Args({1, 1024, 151936});
}
BENCHMARK(FewRows)->Apply(shapes)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(FewRowsInt8)->Apply(shapes)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(FewRowsInt4)->Apply(shapes)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(FewRowsAten)->Args({1, 1024, 3072})->Args({8, 1024, 3072})->UseRealTime()->Unit(benchmark::kMicrosecond);

template <class Multiply>
void many(benchmark::State& state, const Multiply& multiply) {
  const c10::InferenceMode inference;
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  const auto weights = weights_of(in, out, 1);
  const at::Tensor x = at::randn({rows, in}).to(at::kBFloat16);
  OperationsRoof roof;
  for (auto _ : state) benchmark::DoNotOptimize(multiply(x, weights[0]));
  roof.finish(state, 2.0 * rows * in * out);
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

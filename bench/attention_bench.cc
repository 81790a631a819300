// The attention kernel's rate against the machine's: bytes of K and V (decode) or operations (prefill) a second.
//
//   ./build/release/bench/attention_bench --benchmark_filter=Decode
// Arguments: q_heads / kv_heads / head_dim / slots. `roof` is the rate over the read bandwidth measured just before and
// after. The pool holds several layers' worth of pages, walked in turn, so that nothing stays in the caches.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <cmath>
#include <cstdlib>

#include "ops/paged_attention.h"
#include "roof.h"

namespace throughline::ops {
namespace {

constexpr int64_t kPageTokens = 64;

struct Fixture {
  std::vector<PagedKv> layers;
  PagedBatch batch;
  at::Tensor q;
  int64_t bytes = 0;  // of one layer's K and V
};

// The same in int8, from the bf16 pool's first layer.
void to_int8(Fixture& f) {
  const at::Tensor& k = f.layers[0].k;
  const int64_t pages = k.size(0), kv_heads = k.size(1), head_dim = k.size(3), layers = f.layers.size();
  const int64_t slots = f.batch.lengths[0];
  const std::vector<int64_t> sizes = {pages, 2 * layers, kv_heads, kPageTokens, head_dim + kKvScaleBytes};
  const size_t bytes = 2 * layers * pages * kPageTokens * kv_heads * (head_dim + kKvScaleBytes);
  void* memory = std::aligned_alloc(2 << 20, (bytes + (2 << 20) - 1) >> 21 << 21);
  madvise(memory, bytes, MADV_HUGEPAGE);
  const at::Tensor storage = at::from_blob(
      memory, sizes, [](void* p) { std::free(p); }, at::kChar);
  PagedBatch all = f.batch;
  all.row_begin = {0, static_cast<int32_t>(slots)};
  const at::Tensor rows = at::randn({slots, kv_heads, head_dim}).to(at::kBFloat16);
  for (int64_t layer = 0; layer < layers; ++layer) {
    f.layers[layer] = {storage.select(1, 2 * layer), storage.select(1, 2 * layer + 1)};
    paged_append(rows, rows, all, f.layers[layer]);
  }
  f.bytes = 2 * slots * kv_heads * (head_dim + kKvScaleBytes);
}

Fixture make_fixture(const benchmark::State& state, int64_t rows, int64_t least_bytes) {
  const int64_t q_heads = state.range(0), kv_heads = state.range(1), head_dim = state.range(2), slots = state.range(3);
  const int64_t pages = (slots + kPageTokens - 1) / kPageTokens;
  Fixture out;
  out.bytes = 2 * slots * kv_heads * head_dim * 2;
  const int64_t layers = std::max<int64_t>(1, least_bytes / out.bytes);
  // Page after page, all layers of a page together, as PagePool lays them out.
  const std::vector<int64_t> sizes = {pages, 2 * layers, kv_heads, kPageTokens, head_dim};
  const size_t bytes = layers * pages * kPageTokens * kv_heads * head_dim * 4;
  void* memory = std::aligned_alloc(2 << 20, (bytes + (2 << 20) - 1) >> 21 << 21);
  madvise(memory, bytes, MADV_HUGEPAGE);
  const at::Tensor storage = at::from_blob(
      memory, sizes, [](void* p) { std::free(p); }, at::kBFloat16);
  storage.copy_(at::randn({1, 1, kv_heads, kPageTokens, head_dim}).expand(storage.sizes()));
  for (int64_t layer = 0; layer < layers; ++layer) {
    out.layers.push_back({storage.select(1, 2 * layer), storage.select(1, 2 * layer + 1)});
  }
  out.batch.row_begin = {0, static_cast<int32_t>(rows)};
  for (int64_t page = 0; page < pages; ++page) out.batch.page_table.push_back(static_cast<int32_t>(page));
  out.batch.max_pages = static_cast<int32_t>(pages);
  out.batch.lengths.assign(kv_heads, static_cast<int32_t>(slots));
  out.q = at::randn({rows, q_heads, head_dim}).to(at::kBFloat16);
  return out;
}

void decode(benchmark::State& state, bool int8) {
  Fixture f = make_fixture(state, 1, 512 << 20);
  if (int8) to_int8(f);
  const double scale = 1 / std::sqrt(static_cast<double>(state.range(2)));
  size_t layer = 0;
  BytesRoof roof;
  for (auto _ : state) {
    benchmark::DoNotOptimize(paged_attention(f.q, f.layers[layer], f.batch, scale));
    layer = (layer + 1) % f.layers.size();
  }
  roof.finish(state, static_cast<double>(f.bytes));
}
void Decode(benchmark::State& state) { decode(state, false); }
void DecodeInt8(benchmark::State& state) { decode(state, true); }
BENCHMARK(DecodeInt8)
    ->Args({16, 8, 128, 8192})
    ->Args({12, 2, 128, 8192})
    ->Args({28, 4, 128, 8192})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(Decode)
    ->Args({16, 8, 128, 512})
    ->Args({16, 8, 128, 8192})
    ->Args({16, 8, 128, 32768})
    ->Args({12, 2, 128, 8192})
    ->Args({28, 4, 128, 8192})
    ->Args({32, 32, 128, 8192})
    ->Args({32, 4, 64, 8192})
    ->Args({8, 4, 80, 8192})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

// One small layer again and again: what the kernel could do if memory were free.
void decode_in_cache(benchmark::State& state, bool int8) {
  Fixture f = make_fixture(state, 1, 1);
  if (int8) to_int8(f);
  const double scale = 1 / std::sqrt(static_cast<double>(state.range(2)));
  for (auto _ : state) benchmark::DoNotOptimize(paged_attention(f.q, f.layers[0], f.batch, scale));
  state.counters["GB/s"] = benchmark::Counter(f.bytes / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}
void DecodeInCache(benchmark::State& state) { decode_in_cache(state, false); }
void DecodeInCacheInt8(benchmark::State& state) { decode_in_cache(state, true); }
BENCHMARK(DecodeInCacheInt8)
    ->Args({2, 1, 128, 512})
    ->Args({6, 1, 128, 512})
    ->Args({7, 1, 128, 512})
    ->Args({6, 1, 128, 2048})
    ->Args({7, 1, 128, 1024})
    ->Args({7, 1, 128, 2048})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(DecodeInCache)
    ->Args({2, 1, 128, 512})
    ->Args({4, 1, 128, 512})
    ->Args({6, 1, 128, 512})
    ->Args({7, 1, 128, 512})
    ->Args({8, 1, 128, 512})
    ->Args({1, 1, 128, 512})
    ->Args({16, 8, 128, 512})
    ->Args({12, 2, 128, 1024})
    ->Unit(benchmark::kMicrosecond);

void Prefill(benchmark::State& state) {
  const int64_t slots = state.range(3);
  const Fixture f = make_fixture(state, slots, 1);
  const double scale = 1 / std::sqrt(static_cast<double>(state.range(2)));
  OperationsRoof roof;
  for (auto _ : state)
    benchmark::DoNotOptimize(paged_attention(f.q, f.layers[0], f.batch, scale, nullptr, NumericMode::kFast));
  roof.finish(state, 2.0 * slots * slots * state.range(0) * state.range(2));
}
BENCHMARK(Prefill)
    ->Args({16, 8, 128, 2048})
    ->Args({12, 2, 128, 2048})
    ->Args({32, 4, 64, 2048})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// The products of one qwen3-0.6b layer, to compare Prefill 16/8/128/2048 with.
void PrefillProducts(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{4096, 1024}, {1024, 2048}, {6144, 1024}, {1024, 3072}};
  std::vector<at::Tensor> inputs, weights;
  double operations = 0;
  for (auto [out, in] : shapes) {
    inputs.push_back(at::randn({rows, in}).to(at::kBFloat16));
    weights.push_back(at::randn({out, in}).to(at::kBFloat16));
    operations += 2.0 * rows * out * in;
  }
  OperationsRoof roof;
  for (auto _ : state) {
    for (size_t i = 0; i < shapes.size(); ++i) benchmark::DoNotOptimize(at::linear(inputs[i], weights[i]));
  }
  roof.finish(state, operations);
}
BENCHMARK(PrefillProducts)->Arg(2048)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace throughline::ops

BENCHMARK_MAIN();

// What a step and an event do besides products and attention, at qwen3-0.6b's shapes: norms, rotation on the way into
// the pages, gates, the draw from the vocabulary; policy scoring and compaction.
//
//   ./build/release/bench/rows_bench
// `roof` is the rate over the read bandwidth or the rate of fp32 multiply-adds, measured just before and after. Bytes
// count what is read and what is written, once each; arrays are many times the largest cache and walked in turn, but
// for the draw, whose logits a step has just computed.
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <numeric>

#include "engine/sampler.h"
#include "ops/paged_attention.h"
#include "ops/rows.h"
#include "ops/summed_attention.h"
#include "roof.h"

namespace throughline::ops {
namespace {

constexpr int64_t kHidden = 1024, kFfn = 3072, kQHeads = 16, kKvHeads = 8, kHeadDim = 128, kVocab = 151936;
constexpr int64_t kPageTokens = 64;

at::Tensor random(at::IntArrayRef sizes) { return at::randn(sizes).to(at::kBFloat16); }

std::vector<at::Tensor> several(at::IntArrayRef sizes) {
  const at::Tensor one = random(sizes);
  std::vector<at::Tensor> out;
  for (int64_t i = 0; i < 1 + (256 << 20) / one.nbytes(); ++i) out.push_back(one.clone());
  return out;
}

void RmsNorm(benchmark::State& state) {
  const c10::InferenceMode inference;
  const auto inputs = several({state.range(0), kHidden}), outputs = several({state.range(0), kHidden});
  const at::Tensor weight = random({kHidden});
  size_t next = 0;
  BytesRoof roof;
  for (auto _ : state) {
    rms_norm(inputs[next], weight, 1e-6, outputs[next]);
    next = (next + 1) % inputs.size();
  }
  roof.finish(state, 2.0 * inputs[0].nbytes());
}
BENCHMARK(RmsNorm)->Arg(2048)->UseRealTime()->Unit(benchmark::kMicrosecond);

void SiluMulJoined(benchmark::State& state) {
  const c10::InferenceMode inference;
  const auto inputs = several({state.range(0), 2 * kFfn});
  size_t next = 0;
  BytesRoof roof;
  for (auto _ : state) {
    benchmark::DoNotOptimize(silu_mul_joined(inputs[next]));
    next = (next + 1) % inputs.size();
  }
  roof.finish(state, 1.5 * inputs[0].nbytes());
}
BENCHMARK(SiluMulJoined)->Arg(2048)->UseRealTime()->Unit(benchmark::kMicrosecond);

// ---------------------------------------------------------------- pages

// One sequence of `slots` slots.
struct Pages {
  std::vector<int32_t> ids;
  PagedKv kv;

  Pages(int64_t slots, at::ScalarType type) : ids((slots + kPageTokens - 1) / kPageTokens) {
    std::iota(ids.begin(), ids.end(), 0);
    const int64_t tail = type == at::kChar ? kKvScaleBytes : 0, count = ids.size();
    for (at::Tensor* pool : {&kv.k, &kv.v}) {
      *pool = at::zeros({count, kKvHeads, kPageTokens, kHeadDim + tail}, type);
      if (type != at::kChar) pool->normal_();
    }
  }
  double row_bytes() const { return 2.0 * kKvHeads * kv.k.size(3) * kv.k.element_size(); }  // K and V of a slot
};

void rotate_and_append(benchmark::State& state, at::ScalarType type) {
  const c10::InferenceMode inference;
  const int64_t rows = state.range(0);
  const auto q = several({rows, kQHeads, kHeadDim}), k = several({rows, kKvHeads, kHeadDim});
  const auto v = several({rows, kKvHeads, kHeadDim});
  const Pages pages(rows, type);
  PagedBatch batch{{0, static_cast<int32_t>(rows)}, pages.ids, {}, static_cast<int32_t>(pages.ids.size())};
  batch.lengths.assign(kKvHeads, static_cast<int32_t>(rows));
  RopeFrequencies frequencies;
  for (int64_t i = 0; i < kHeadDim / 2; ++i)
    frequencies.inv_freq.push_back(std::pow(1e6F, -2.0F * static_cast<float>(i) / kHeadDim));
  std::vector<int64_t> positions(rows);
  std::iota(positions.begin(), positions.end(), 0);
  const RopeAngles angles = rope_angles(frequencies, positions, at::kCPU);
  const HeadNorms norms{random({kHeadDim}), random({kHeadDim}), 1e-6};
  size_t next = 0;
  BytesRoof roof;
  for (auto _ : state) {
    ops::rotate_and_append(q[next], k[next], v[next], norms, angles, batch, pages.kv);
    next = (next + 1) % q.size();
  }
  roof.finish(state, 2.0 * (q[0].nbytes() + k[0].nbytes()) + v[0].nbytes() + rows * pages.row_bytes());
}
void RotateAndAppend(benchmark::State& state) { rotate_and_append(state, at::kBFloat16); }
void RotateAndAppendInt8(benchmark::State& state) { rotate_and_append(state, at::kChar); }
BENCHMARK(RotateAndAppend)->Arg(2048)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(RotateAndAppendInt8)->Arg(2048)->UseRealTime()->Unit(benchmark::kMicrosecond);

// Every fourth slot of all that are there stays, as an event of ratio 4 leaves a cache.
void compaction(benchmark::State& state, at::ScalarType type) {
  const c10::InferenceMode inference;
  const int64_t kept = state.range(0) / 4;
  const Pages pages(state.range(0), type);
  std::vector<SlotMove> moves;
  for (int32_t head = 0; head < kKvHeads; ++head) {
    for (int32_t to = 0; to < kept; ++to) moves.push_back({head, 4 * to + 3, to});
  }
  BytesRoof roof;
  for (auto _ : state) move_slots(pages.kv, pages.ids, moves);
  roof.finish(state, 2.0 * kept * pages.row_bytes());
}
void Compaction(benchmark::State& state) { compaction(state, at::kBFloat16); }
void CompactionInt8(benchmark::State& state) { compaction(state, at::kChar); }
BENCHMARK(Compaction)->Arg(65536)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(CompactionInt8)->Arg(65536)->UseRealTime()->Unit(benchmark::kMicrosecond);

// ---------------------------------------------------------------- scoring

void scoring(benchmark::State& state, GroupVote vote, at::ScalarType pool) {
  const c10::InferenceMode inference;
  const int64_t recent = state.range(0), slots = state.range(1);
  const at::Tensor queries = at::randn({recent, kQHeads, kHeadDim});
  at::Tensor keys = at::randn({kKvHeads, slots, kHeadDim}), scales;
  if (pool == at::kChar) {  // whole numbers, as gather_int8_keys() leaves them
    keys.mul_(40).round_().clamp_(-127, 127);
    scales = at::full({kKvHeads, slots}, 1 / 40.0, at::kFloat);
  }
  if (pool != at::kFloat) keys = keys.to(at::kBFloat16);
  std::vector<int64_t> rows(recent);
  std::iota(rows.begin(), rows.end(), 0);
  OperationsRoof roof;
  for (auto _ : state)
    benchmark::DoNotOptimize(summed_attention(queries, rows, keys, 1 / std::sqrt(kHeadDim), vote, scales));
  roof.finish(state, 2.0 * recent * slots * kQHeads * kHeadDim);
}
void Scoring(benchmark::State& state) { scoring(state, GroupVote::kEach, at::kBFloat16); }
void ScoringInt8(benchmark::State& state) { scoring(state, GroupVote::kEach, at::kChar); }
void ScoringFp32(benchmark::State& state) { scoring(state, GroupVote::kEach, at::kFloat); }
void ScoringMaxLogits(benchmark::State& state) { scoring(state, GroupVote::kMaxLogits, at::kBFloat16); }
BENCHMARK(Scoring)->Args({32, 9216})->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(ScoringInt8)->Args({32, 9216})->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(ScoringFp32)->Args({32, 9216})->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(ScoringMaxLogits)->Args({32, 9216})->UseRealTime()->Unit(benchmark::kMillisecond);

// ---------------------------------------------------------------- the draw

// Logits as peaked as a model's: the best of them has half of the probability.
void draw(benchmark::State& state, const SamplingOptions& options) {
  const at::Tensor logits = at::randn({kVocab}).mul_(2);
  logits.mutable_data_ptr<float>()[kVocab / 3] = std::log(static_cast<double>(kVocab)) + 2;
  const std::span<const float> row{logits.const_data_ptr<float>(), static_cast<size_t>(kVocab)};
  TokenHistory history;
  SamplerScratch scratch;
  BytesRoof roof;
  for (auto _ : state) {
    benchmark::DoNotOptimize(draw_token(row, options, history, {}, 0, scratch));
    ++history.tokens;
  }
  roof.finish(state, 4.0 * kVocab);
}
void DrawGreedy(benchmark::State& state) { draw(state, {.temperature = 0}); }
void DrawOfAll(benchmark::State& state) { draw(state, {}); }
void DrawTopPTopK(benchmark::State& state) { draw(state, {.temperature = 0.6, .top_p = 0.95, .top_k = 20}); }
void DrawTopP(benchmark::State& state) { draw(state, {.temperature = 0.6, .top_p = 0.95}); }
void DrawLogprobs(benchmark::State& state) { draw(state, {.logprobs = 20}); }
BENCHMARK(DrawGreedy)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(DrawOfAll)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(DrawTopPTopK)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(DrawTopP)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(DrawLogprobs)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace throughline::ops

BENCHMARK_MAIN();

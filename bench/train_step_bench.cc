// One full training step (forward, backward, clip, AdamW) on packed rows, in tokens a second, and what share of the
// machine's matrix-product rate that is. The peer is tools/train_step_peer.py; tools/train_step_compare.py runs both in
// turn.
//
//   ninja -C build/release train_step_bench && ./build/release/train_step_bench [--shape 0.8M,4.3M] [--dtype fp32,bf16]
//       [--rows 16] [--tokens 256] [--reps 5] [--threads 2] [--checkpoint] [--serve]
//
// --serve reads lines from standard input and answers each with one step's tokens/s. FLOPs: 6 a weight and token, and
// attention's 12 * head_dim * heads * (tokens / 2) a layer and token (causal); the share is against ATen's product of
// 1024 x 1024 x 1024 in the same dtype, measured before and after.
#include <ATen/Parallel.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "base/files.h"
#include "model/synth.h"
#include "ops/cpu_memory.h"
#include "train/row_attention.h"
#include "train/update.h"

namespace {

using namespace throughline;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Options {
  std::string shapes = "0.8M,4.3M", dtypes = "fp32,bf16";
  int64_t rows = 16, tokens = 256, reps = 5, threads = 2;
  bool checkpoint = false, serve = false;
};

ModelConfig shape_config(const std::string& shape) {
  ModelConfig c;
  c.family = ModelFamily::kQwen3;
  const bool small = shape == "0.8M";
  c.hidden = small ? 128 : 256, c.layers = small ? 4 : 6, c.q_heads = small ? 4 : 8, c.kv_heads = 2;
  c.ffn = small ? 384 : 704, c.head_dim = 32, c.vocab = 64, c.max_positions = 16384;
  c.tied_embeddings = true, c.qk_norm = true, c.dtype = "float32";
  c.eos_ids = {1};
  return c;
}

template <class T>
T take(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  std::fprintf(stderr, "%s\n", result.error().line().c_str());
  std::exit(2);
}

std::unique_ptr<Decoder> make_decoder(const ModelConfig& config, const std::string& dtype) {
  const std::string folder = std::filesystem::temp_directory_path() / ("train-step-bench-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  const std::string file = folder + "/shape.json";
  if (!write_atomically(file, config_to_json(config).dump()).ok()) std::exit(2);
  const Status made = synthesize({.shape = file, .dtype = "fp32", .output = folder + "/model"}, {});
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", made.error().line().c_str());
    std::exit(2);
  }
  Decoder::LoadOptions load;
  load.dtype = dtype;
  auto decoder = take(Decoder::load(folder + "/model", load));
  decoder->make_trainable();
  std::filesystem::remove_all(folder);
  return decoder;
}

double gemm_flops_a_second(at::ScalarType type) {
  const at::Tensor a = at::randn({1024, 1024}).to(type), b = at::randn({1024, 1024}).to(type);
  double best = 1e9;
  for (int i = 0; i < 12; ++i) best = std::min(best, seconds_of([&] { at::linear(a, b); }));
  return 2.0 * 1024 * 1024 * 1024 / best;
}

struct Bench {
  ModelConfig config;
  Options options;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<FullTrainable> trainable;
  std::unique_ptr<Updater> updater;
  std::vector<TrainRow> rows;
  std::vector<const TrainRow*> pointers;
  StepTotals totals;

  Bench(const std::string& shape, const std::string& dtype, const Options& o)
      : config(shape_config(shape)), options(o) {
    decoder = make_decoder(config, dtype);
    trainable = std::make_unique<FullTrainable>(decoder.get());
    UpdateOptions update;
    update.checkpoint_layers = o.checkpoint;
    update.aggregation.kind = AggregationKind::kTokenMean;
    updater = std::make_unique<Updater>(
        decoder.get(), trainable.get(), update,
        [](const Decoder& model, std::span<const TrainRow* const> packed) -> std::unique_ptr<AttentionContext> {
          std::vector<PackedRow> out;
          for (const TrainRow* row : packed) out.push_back({row->tokens() - 1, &row->evictions});
          return std::make_unique<RowAttention>(model, std::move(out), ops::NumericMode::kFast);
        });
    for (int64_t r = 0; r < o.rows; ++r) {
      TrainRow& row = rows.emplace_back();
      for (int64_t i = 0; i <= o.tokens; ++i)
        row.ids.push_back(static_cast<int32_t>((r * 31 + i * i * 7) % config.vocab));
      row.prompt_tokens = 1;
      row.trained.assign(static_cast<size_t>(o.tokens), 1);
      row.trace = r;
      row.trace_tokens = o.tokens;
      row.advantage = r % 2 == 0 ? 1.0F : -1.0F;
    }
    for (const TrainRow& row : rows) pointers.push_back(&row);
    totals = count_step(rows, o.rows, 1);
  }

  double tokens_a_second() {
    const double seconds = seconds_of([&] {
      updater->accumulate(pointers, totals);
      updater->apply(1e-4);
    });
    return static_cast<double>(options.rows * options.tokens) / seconds;
  }

  double flops_a_token() const {
    const double attention = 12.0 * static_cast<double>(config.head_dim * config.q_heads * config.layers) *
                             static_cast<double>(options.tokens) / 2;
    const auto norms = static_cast<double>(config.layers * (2 * config.hidden + 2 * config.head_dim));
    return 6.0 * (static_cast<double>(config.parameters()) - norms) + attention;
  }
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) out.push_back(part);
  return out;
}

void measure(const std::string& shape, const std::string& dtype, const Options& options) {
  const at::ScalarType type = dtype == "fp32" ? at::kFloat : at::kBFloat16;
  Bench bench(shape, dtype, options);
  bench.tokens_a_second();
  double gemm = gemm_flops_a_second(type);
  std::vector<double> rates;
  for (int64_t i = 0; i < options.reps; ++i) rates.push_back(bench.tokens_a_second());
  gemm = std::max(gemm, gemm_flops_a_second(type));
  std::sort(rates.begin(), rates.end());
  const double median = rates[rates.size() / 2];
  std::printf(
      "{\"peer\": \"throughline\", \"shape\": \"%s\", \"dtype\": \"%s\", \"rows\": %lld, \"row_tokens\": %lld, "
      "\"tok_s_median\": %.0f, \"tok_s_max\": %.0f, \"reps\": %lld, \"gflop_s\": %.1f, \"gemm_gflop_s\": %.1f, "
      "\"gemm_share\": %.3f}\n",
      shape.c_str(), dtype.c_str(), static_cast<long long>(options.rows), static_cast<long long>(options.tokens),
      median, rates.back(), static_cast<long long>(options.reps), median * bench.flops_a_token() / 1e9, gemm / 1e9,
      median * bench.flops_a_token() / gemm);
}

void serve(const std::string& shape, const std::string& dtype, const Options& options) {
  Bench bench(shape, dtype, options);
  const double gemm = gemm_flops_a_second(dtype == "fp32" ? at::kFloat : at::kBFloat16);
  bench.tokens_a_second();
  std::printf("%.17g %.17g\n", bench.flops_a_token(), gemm);
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    std::printf("%.17g\n", bench.tokens_a_second());
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  ops::use_heap_for_tensors();  // as the program does
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&] { return std::string(i + 1 < argc ? argv[++i] : ""); };
    if (name == "--shape") options.shapes = value();
    if (name == "--dtype") options.dtypes = value();
    if (name == "--rows") options.rows = std::stoll(value());
    if (name == "--tokens") options.tokens = std::stoll(value());
    if (name == "--reps") options.reps = std::stoll(value());
    if (name == "--threads") options.threads = std::stoll(value());
    if (name == "--checkpoint") options.checkpoint = true;
    if (name == "--serve") options.serve = true;
  }
  at::set_num_threads(static_cast<int>(options.threads));
  for (const std::string& shape : split(options.shapes)) {
    for (const std::string& dtype : split(options.dtypes)) {
      if (options.serve) {
        serve(shape, dtype, options);
      } else {
        measure(shape, dtype, options);
      }
    }
  }
}

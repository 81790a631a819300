// What a decode step of the engine costs besides moving bytes: the time of its serial parts, of handing work to threads
// and of drawing an id, beside the time that the weights and the cache need at the memory's speed; and how often it
// allocates, starts a thread or is switched out.
//
//   ninja -C build/release step_bench
//   GOMP_SPINCOUNT=3000 ./build/release/step_bench MODEL [--depth 8192]  # --help tells the rest
//
// Serial: a step of the model's twin, which has as many layers and heads and next to no weights, over a short context.
// Hand-overs: the runs of the thread pool that the model's step has and its twin's has not, each taken as a run whose
// tasks are empty. Drawing: over logits of the model's vocabulary. Allocations are counted by standing in for malloc
// and friends, thread starts for pthread_create: glibc only, not under a sanitizer.
// Exit status 1: a step starts a thread, or has more allocations than --most-allocations.
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/files.h"
#include "base/json.h"
#include "base/median.h"
#include "base/rng.h"
#include "base/stopwatch.h"
#include "base/thread_pool.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "model/synth.h"
#include "ops/cpu/bandwidth.h"
#include "ops/cpu_memory.h"

namespace {

std::atomic<int64_t> allocations{0}, allocated_bytes{0}, thread_starts{0};

void count_allocation(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
}

}  // namespace

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t bytes) { return count_allocation(bytes), __libc_malloc(bytes); }
void* calloc(size_t count, size_t bytes) { return count_allocation(count * bytes), __libc_calloc(count, bytes); }
void* realloc(void* old, size_t bytes) { return count_allocation(bytes), __libc_realloc(old, bytes); }
void* memalign(size_t alignment, size_t bytes) { return count_allocation(bytes), __libc_memalign(alignment, bytes); }
void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** out, size_t alignment, size_t bytes) {
  *out = memalign(alignment, bytes);
  return *out == nullptr ? ENOMEM : 0;
}
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*), void* argument) {
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(::dlsym(RTLD_NEXT, "pthread_create"));
  thread_starts.fetch_add(1);
  return real(thread, attributes, run, argument);
}
}

namespace {

using namespace throughline;

struct Options {
  std::string model, weights, json;
  int64_t depth = 8192, batch = 1, tokens = 64, threads = 2, most_allocations = -1;
  SamplingOptions sampling{.temperature = 0};
};

struct Counts {  // of the whole process, or between two of these
  int64_t allocations = 0, bytes = 0, thread_starts = 0, pool_runs = 0, voluntary = 0, involuntary = 0;

  static Counts now() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return {::allocations,  allocated_bytes, ::thread_starts, ThreadPool::of_this_thread().runs(),
            usage.ru_nvcsw, usage.ru_nivcsw};
  }
  Counts since(const Counts& t) const {
    return {allocations - t.allocations, bytes - t.bytes,         thread_starts - t.thread_starts,
            pool_runs - t.pool_runs,     voluntary - t.voluntary, involuntary - t.involuntary};
  }
};

struct Steps {
  double seconds = 0;  // of the median step
  Counts counts;       // over all
};

// The steps of a batch that decodes, from a prompt of `depth` ids on.
Result<Steps> decode_steps(const Decoder& decoder, const Options& options, int64_t depth) {
  constexpr int64_t kWarmUp = 8;
  const EngineOptions engine_options{.batch_max = options.batch,
                                     .max_context = depth + options.tokens + kWarmUp + 2,
                                     .prefix_cache = false,
                                     .speculation = {.num_speculative_tokens = 0}};
  TL_TRY(const auto engine, Engine::create(&decoder, nullptr, {}, engine_options));
  CounterStream stream(7, 0, RngPurpose::kTest);
  for (int64_t i = 0; i < options.batch; ++i) {
    Request request;
    for (int64_t k = 0; k < depth; ++k)
      request.prompt_ids.push_back(static_cast<int32_t>(stream.integer(0, decoder.config().vocab - 1)));
    request.max_tokens = options.tokens + kWarmUp + 1;
    request.sampling = options.sampling;
    request.sampling.ignore_eos = true;
    TL_TRY([[maybe_unused]] const auto ticket, engine->submit(std::move(request), "bench"));
  }
  const auto sampled = [&] { return engine->stats().sampled_tokens; };
  while (sampled() < kWarmUp * options.batch) engine->step();
  std::vector<double> seconds;
  seconds.reserve(static_cast<size_t>(options.tokens));
  const Counts before = Counts::now();
  for (int64_t i = 0; i < options.tokens; ++i) {
    const Stopwatch watch;
    engine->step();
    seconds.push_back(watch.seconds());
  }
  const Counts counts = Counts::now().since(before);
  return Steps{median(seconds), counts};
}

// As many layers and heads, next to no weights.
Result<std::unique_ptr<Decoder>> twin_of(const ModelConfig& config, const Options& options) {
  const std::string folder = (std::filesystem::temp_directory_path() / fmt::format("twin-{}", ::getpid())).string();
  ModelConfig twin = config;
  twin.hidden = twin.ffn = 32;
  twin.head_dim = 8;
  twin.vocab = 256;
  Json json = config_to_json(twin);
  json.erase("quantization_config");
  json["eos_token_id"] = json["bos_token_id"] = nullptr;
  TL_TRY_STATUS(make_directories(folder));
  TL_TRY_STATUS(write_atomically(folder + "/shape.json", dump_json(json)));
  TL_TRY_STATUS(synthesize({.shape = folder + "/shape.json", .output = folder + "/model"}, {}));
  auto decoder = Decoder::load(folder + "/model", {.weights = options.weights});
  std::filesystem::remove_all(folder);
  return decoder;
}

double empty_run_seconds(int threads) {
  constexpr int kRuns = 1000;
  std::atomic<int64_t> sum{0};
  std::vector<double> seconds;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const Stopwatch watch;
    for (int i = 0; i < kRuns; ++i)
      ThreadPool::of_this_thread().run(6 * threads, threads, [&](int64_t task) { sum.fetch_add(task); });
    seconds.push_back(watch.seconds() / kRuns);
  }
  return median(seconds);
}

double draw_seconds(const ModelConfig& config, const Options& options) {
  CounterStream stream(7, 1, RngPurpose::kTest);
  std::vector<float> logits(static_cast<size_t>(config.vocab));
  for (float& logit : logits)  // Zipf's law: text as models see it
    logit = -1.1F * std::log(static_cast<float>(stream.integer(1, config.vocab)));
  SamplerScratch scratch;
  TokenHistory history;
  std::vector<double> seconds;
  for (history.tokens = 0; history.tokens < 21; ++history.tokens) {
    const Stopwatch watch;
    draw_token(logits, options.sampling, history, {}, 0, scratch);
    seconds.push_back(watch.seconds());
  }
  return median(seconds) * static_cast<double>((options.batch + options.threads - 1) / options.threads);
}

Result<bool> run(const Options& options) {
  at::set_num_threads(static_cast<int>(options.threads));
  TL_TRY(const auto decoder, Decoder::load(options.model, {.weights = options.weights}));
  TL_TRY(const auto twin, twin_of(decoder->config(), options));
  ops::BandwidthMeter meter;
  std::vector<double> rates = {meter.read_gb_s()};
  TL_TRY(const Steps steps, decode_steps(*decoder, options, options.depth));
  rates.push_back(meter.read_gb_s());
  TL_TRY(const Steps twin_steps, decode_steps(*twin, options, 16));
  const ModelConfig& c = decoder->config();
  const double gb_s = median(rates), n = static_cast<double>(options.tokens);
  const double kv_bytes = 2.0 * c.layers * c.kv_heads * c.head_dim * (decoder->dtype() == at::kFloat ? 4 : 2);
  const double cached = static_cast<double>(options.depth) + n / 2;
  const double bytes = static_cast<double>(decoder->step_weight_bytes()) + options.batch * cached * kv_bytes;
  const double moving = bytes / (gb_s * 1e9);
  const double runs = static_cast<double>(steps.counts.pool_runs) / n;
  const double handing = std::max(0.0, runs - static_cast<double>(twin_steps.counts.pool_runs) / n) *
                         empty_run_seconds(static_cast<int>(options.threads));
  const double drawing = draw_seconds(c, options), besides = twin_steps.seconds + handing + drawing;
  const auto per_step = [&](int64_t count) { return static_cast<double>(count) / n; };
  const Json line = {{"bench", "step"},
                     {"model", options.model},
                     {"weights", options.weights},
                     {"threads", options.threads},
                     {"batch", options.batch},
                     {"depth", options.depth},
                     {"temperature", options.sampling.temperature},
                     {"top_p", options.sampling.top_p},
                     {"top_k", options.sampling.top_k},
                     {"step_ms", steps.seconds * 1e3},
                     {"bytes_per_step", bytes},
                     {"bw_gb_s", gb_s},
                     {"bytes_ms", moving * 1e3},
                     {"serial_ms", twin_steps.seconds * 1e3},
                     {"pool_runs", runs},
                     {"hand_over_ms", handing * 1e3},
                     {"draw_ms", drawing * 1e3},
                     {"overhead_fraction", besides / moving},
                     {"allocations", per_step(steps.counts.allocations)},
                     {"allocated_bytes", per_step(steps.counts.bytes)},
                     {"thread_starts", per_step(steps.counts.thread_starts)},
                     {"voluntary_switches", per_step(steps.counts.voluntary)},
                     {"involuntary_switches", per_step(steps.counts.involuntary)}};
  fmt::print("step         {:.3f} ms; its {:.0f} MiB take {:.3f} ms at {:.1f} GB/s\n", steps.seconds * 1e3,
             bytes / (1 << 20), moving * 1e3, gb_s);
  fmt::print("besides      {:.3f} ms, {:.2f} % of that: serial {:.3f}, {:.0f} pool runs {:.3f}, drawing {:.3f}\n",
             besides * 1e3, 100 * besides / moving, twin_steps.seconds * 1e3, runs, handing * 1e3, drawing * 1e3);
  fmt::print("allocations  {:.1f} a step, {:.1f} KiB\n", per_step(steps.counts.allocations),
             per_step(steps.counts.bytes) / 1024);
  fmt::print("threads      {} started; {:.2f} voluntary and {:.2f} involuntary switches a step\n",
             steps.counts.thread_starts, per_step(steps.counts.voluntary), per_step(steps.counts.involuntary));
  if (!options.json.empty()) {
    TL_TRY(auto writer, LineWriter::append(options.json));
    TL_TRY_STATUS(writer.write(dump_json(line)));
  }
  return steps.counts.thread_starts == 0 &&
         (options.most_allocations < 0 || steps.counts.allocations <= options.most_allocations * options.tokens);
}

}  // namespace

int main(int count, char** arguments) {
  ops::use_heap_for_tensors();  // as the program does
  Options options;
  CLI::App app{"What a decode step costs besides moving bytes"};
  app.add_option("model", options.model, "model directory")->required();
  app.add_option("--depth", options.depth, "tokens in the context")->capture_default_str();
  app.add_option("--batch", options.batch, "sequences")->capture_default_str();
  app.add_option("--tokens", options.tokens, "steps")->capture_default_str();
  app.add_option("--threads", options.threads, "threads")->capture_default_str();
  app.add_option("--weights", options.weights, "int8 or int4: quantized while loading");
  app.add_option("--temperature", options.sampling.temperature, "of the draw; 0: greedy")->capture_default_str();
  app.add_option("--top-p", options.sampling.top_p, "of the draw")->capture_default_str();
  app.add_option("--top-k", options.sampling.top_k, "of the draw")->capture_default_str();
  app.add_option("--json", options.json, "append a JSON line to FILE; - is standard output");
  app.add_option("--most-allocations", options.most_allocations, "a step; more are a failure");
  CLI11_PARSE(app, count, arguments);
  const Result<bool> good = run(options);
  if (!good.ok()) {
    fmt::print(stderr, "{}\n", good.error().line());
    return 2;
  }
  return *good ? 0 : 1;
}

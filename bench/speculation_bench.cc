// What lookup speculation gains where text repeats itself, and costs where it does not: tokens a second of one engine
// with --speculate off, auto and 16, run in turn.
//
//   ninja -C build/release speculation_bench
//   GOMP_SPINCOUNT=3000 ./build/release/speculation_bench MODEL [--batch 1,4,8] [--text coin]  # --help tells the rest
//
// `x off` is the median of the rounds' own ratios, since a shared machine drifts from round to round.
// What is sampled is steered by logit bias, so any weights do: `one`: one id over and over, every draft is right;
// `nine in ten`: of two ids one comes nine times in ten; `coin`: two ids, evenly: there is always a match, and it is
// right half of the time; `eight`: of eight ids, evenly; `free`: the model's own distribution at temperature 1.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>

#include "base/median.h"
#include "base/rng.h"
#include "base/stopwatch.h"
#include "engine/engine.h"
#include "ops/cpu_memory.h"

namespace {

using namespace throughline;

struct Options {
  std::string model, text;
  std::vector<int64_t> batches = {1};
  int64_t tokens = 64, reps = 5, threads = 2;
};

struct Text {
  const char* name;
  std::vector<double> chances;  // of the first ids; empty: the model's own
};

const Text kTexts[] = {{"one", {1}},
                       {"nine in ten", {0.9, 0.1}},
                       {"coin", {0.5, 0.5}},
                       {"eight", std::vector<double>(8, 0.125)},
                       {"free", {}}};
constexpr const char* kWays[] = {"off", "auto", "16"};

struct Way {
  std::unique_ptr<Engine> engine;
  std::vector<double> rates;
};

// The bias outweighs the model by far, but for its logits of these few ids: they are pressed together by temperature.
Request request_of(const Text& text, const Options& options, uint64_t seed) {
  constexpr double kPress = 50;
  Request request;
  CounterStream stream(7, 0, RngPurpose::kTest);
  for (int i = 0; i < 32; ++i) request.prompt_ids.push_back(static_cast<int32_t>(stream.integer(0, 200)));
  request.max_tokens = options.tokens;
  request.sampling.ignore_eos = true;
  request.sampling.seed = seed;
  if (text.chances.empty()) return request;
  request.sampling.temperature = kPress;
  request.sampling.top_k = static_cast<int64_t>(text.chances.size());
  for (size_t i = 0; i < text.chances.size(); ++i)
    request.sampling.logit_bias[static_cast<int32_t>(100 + i)] = 1000 + kPress * std::log(text.chances[i]);
  return request;
}

// Decoding alone: from the first token on.
double tokens_per_second(Engine& engine, const Text& text, const Options& options, int64_t batch, uint64_t seed) {
  int64_t tokens = 0, first = 0;
  std::optional<Stopwatch> watch;
  for (int64_t i = 0; i < batch; ++i) {
    Request request = request_of(text, options, seed * 100 + static_cast<uint64_t>(i));
    const auto ticket = engine.submit(std::move(request), "bench");
    TL_CHECK(ticket.ok(), "the request is good");
  }
  const int64_t before = engine.stats().sampled_tokens;
  while (engine.step()) {
    tokens = engine.stats().sampled_tokens - before;
    if (watch || tokens < batch) continue;
    watch.emplace();
    first = tokens;
  }
  return static_cast<double>(tokens - first) / watch->seconds();
}

void run_text(const Decoder& decoder, const Text& text, const Options& options, int64_t batch) {
  Way ways[std::size(kWays)];
  for (size_t w = 0; w < std::size(kWays); ++w) {
    EngineOptions engine{.kv_memory_bytes = int64_t{1} << 30, .exact = false};
    engine.speculation = *parse_speculation(kWays[w], "way");
    ways[w].engine = std::move(Engine::create(&decoder, nullptr, {}, engine)).value();
  }
  for (int64_t rep = -1; rep < options.reps; ++rep) {  // the first warms up
    for (Way& way : ways) {
      const double rate = tokens_per_second(*way.engine, text, options, batch, static_cast<uint64_t>(rep + 1));
      if (rep >= 0) way.rates.push_back(rate);
    }
  }
  for (size_t w = 0; w < std::size(kWays); ++w) {
    const auto& rates = ways[w].rates;
    std::vector<double> ratios;
    for (size_t rep = 0; rep < rates.size(); ++rep) ratios.push_back(rates[rep] / ways[0].rates[rep]);
    const EngineStats stats = ways[w].engine->stats();
    fmt::print("{:>5} {:<12} {:>5} {:>9.1f} {:>9.1f} {:>9.1f} {:>7.2f} {:>14}\n", batch, text.name, kWays[w],
               median(rates), *std::min_element(rates.begin(), rates.end()),
               *std::max_element(rates.begin(), rates.end()), median(ratios),
               fmt::format("{}/{}", stats.accepted_tokens, stats.draft_tokens));
    std::fflush(stdout);
  }
}

int run(const Options& options) {
  at::set_num_threads(static_cast<int>(options.threads));
  auto decoder = Decoder::load(options.model, {});
  if (!decoder.ok()) {
    fmt::print(stderr, "{}\n", decoder.error().line());
    return 2;
  }
  fmt::print("{:>5} {:<12} {:>5} {:>9} {:>9} {:>9} {:>7} {:>14}\n", "batch", "text", "way", "tok/s", "min", "max",
             "x off", "right/drafts");
  for (const int64_t batch : options.batches) {
    for (const Text& text : kTexts) {
      if (options.text.empty() || options.text == text.name) run_text(**decoder, text, options, batch);
    }
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  ops::use_heap_for_tensors();  // as the program does
  Options options;
  CLI::App app{"Tokens a second with lookup speculation off, auto and 16"};
  app.add_option("model", options.model, "model directory")->required();
  app.add_option("--tokens", options.tokens, "tokens of each sequence")->capture_default_str();
  app.add_option("--reps", options.reps, "rounds")->capture_default_str();
  app.add_option("--threads", options.threads, "threads")->capture_default_str();
  app.add_option("--batch", options.batches, "sequences, e.g. 1,4,8")->capture_default_str()->delimiter(',');
  app.add_option("--text", options.text, "only this text");
  CLI11_PARSE(app, count, arguments);
  return run(options);
}

#include "cli/bench_rollout.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include "base/files.h"
#include "base/json.h"
#include "base/median.h"
#include "base/stopwatch.h"
#include "cli/bench_peer.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/report.h"
#include "cli/version.h"
#include "ops/cpu/flop_rate.h"

namespace throughline {
namespace {

constexpr int64_t kWarmupTokens = 16;
constexpr double kPeerSeconds = 900;

RolloutRates rates_of(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {median(values), *low, *high};
}

Result<BenchPeer> start_peer(const std::string& model, const RolloutCase& rollout) {
  const std::string errors = (std::filesystem::temp_directory_path() / "throughline-peer.err").string();
  const Json order = {{"kind", "rollout"},
                      {"model", std::filesystem::absolute(model).string()},
                      {"batch", rollout.batch},
                      {"depth", rollout.prompt_tokens},
                      {"tokens", rollout.tokens},
                      {"repeat", rollout.repeat},
                      {"threads", at::get_num_threads()}};
  auto peer = BenchPeer::start("--peer", rollout.peer, errors, order, kPeerSeconds);
  if (!peer.ok()) return Error{peer.error().what, "--peer", "what it said is in " + errors};
  return peer;
}

Result<std::unique_ptr<Engine>> make_engine(const ModelParts& model, const RolloutCase& rollout) {
  EngineOptions options;
  options.batch_max = rollout.batch;
  options.exact = rollout.exact;
  options.speculation.num_speculative_tokens = 0;  // this and turns as in training
  options.park_memory_bytes = int64_t{1} << 30;
  return Engine::create(model.decoder.get(), model.tokenizer.get(), model.defaults.eos_ids, options);
}

// One batch of samples; the seconds it took.
Result<double> sample(Engine& engine, const ModelParts& model, const RolloutCase& rollout, int64_t tokens,
                      uint64_t seed, const std::function<bool()>& interrupted) {
  Request request;
  for (int64_t i = 0; i < rollout.prompt_tokens; ++i)
    request.prompt_ids.push_back(static_cast<int32_t>((i + 1) % model.decoder->config().vocab));
  request.max_tokens = tokens;
  request.samples = rollout.batch;
  request.sampling.seed = seed;
  request.sampling.sampling_logprobs = true;
  request.sampling.ignore_eos = true;
  TL_TRY(const Spec kv, parse_spec(rollout.kv, policy_infos(), "--kv"));
  TL_TRY(request.policy, make_policy(kv, "--kv"));
  std::string error;
  int64_t sampled = 0;
  request.on_finish = [&](const SampleResult& result) {
    sampled += result.trace.tokens();
    if (!result.error.empty()) error = result.error;
  };
  const Stopwatch watch;
  TL_TRY(const auto ticket, engine.submit(std::move(request), "bench rollout"));
  static_cast<void>(ticket);
  while (engine.step()) {
    if (interrupted && interrupted()) return Error{"interrupted", "", ""};
  }
  const double seconds = watch.seconds();
  if (error.empty() && sampled != rollout.batch * tokens) error = "samples ended early";
  if (!error.empty()) return Error{error, "bench rollout", "give a smaller --batch or --tokens"};
  return seconds;
}

struct RolloutBenchOptions {
  std::string model, dtype, weights, json;
  int threads = 0;
  std::vector<int64_t> batches = {128};
  RolloutCase rollout;
};

Json to_json(const RolloutBenchOptions& options, const ModelParts& model, const RolloutCase& rollout,
             const RolloutResult& result) {
  Json out = {{"engine", "throughline"},
              {"version", kVersion},
              {"bench", "rollout"},
              {"model", model_name(options.model)},
              {"dtype", model.decoder->dtype() == at::kFloat ? "fp32" : "bf16"},
              {"kv", rollout.kv},
              {"exact", rollout.exact},
              {"threads", at::get_num_threads()},
              {"batch", rollout.batch},
              {"tokens", rollout.tokens},
              {"prompt_tokens", rollout.prompt_tokens},
              {"tok_s_median", result.own.median},
              {"tok_s_min", result.own.min},
              {"tok_s_max", result.own.max},
              {"flop_per_token", result.flop_per_token},
              {"gflop_s", result.gflop_s},
              {"flop_fraction", result.flop_fraction}};
  if (!rollout.peer.empty()) {
    out["peer"] = {{"version", result.peer_version},
                   {"tok_s_median", result.peer.median},
                   {"tok_s_min", result.peer.min},
                   {"tok_s_max", result.peer.max}};
  }
  return out;
}

Result<int> run_rollout_bench(const RolloutBenchOptions& options) {
  at::set_num_threads(options.threads > 0 ? options.threads
                                          : static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  TL_TRY(const ModelParts model, ModelParts::load(options.model, {.dtype = options.dtype, .weights = options.weights}));
  std::optional<LineWriter> json;
  if (!options.json.empty()) {
    TL_TRY(auto writer, LineWriter::append(options.json));
    json.emplace(std::move(writer));
  }
  std::FILE* out = options.json == "-" ? stderr : stdout;
  fmt::print(out, "{:>6} {:>10} {:>22} {:>12} {:>10} {:>8}\n", "batch", "tok/s", "min..max", "MFLOP/token", "GFLOP/s",
             "of it");
  for (const int64_t batch : options.batches) {
    RolloutCase rollout = options.rollout;
    rollout.batch = batch;
    const auto result = bench_rollout(model, options.model, rollout, interrupted);
    if (interrupted()) return kInterruptedExit;
    if (!result.ok()) return result.error();
    const auto range = [](const RolloutRates& r) { return fmt::format("{:.0f}..{:.0f}", r.min, r.max); };
    fmt::print(out, "{:>6} {:>10.0f} {:>22} {:>12.3f} {:>10.1f} {:>6.1f} %\n", batch, result->own.median,
               range(result->own), result->flop_per_token / 1e6, result->gflop_s, result->flop_fraction * 100);
    if (!rollout.peer.empty()) {
      fmt::print(out, "{:>6} {:>10.0f} {:>22}   {}: {:.2f} times that\n", "", result->peer.median, range(result->peer),
                 result->peer_version, result->own.median / result->peer.median);
    }
    std::fflush(out);
    if (json) TL_TRY_STATUS(json->write(dump_json(to_json(options, model, rollout, *result))));
  }
  return 0;
}

}  // namespace

double rollout_flop(const Decoder& decoder, int64_t prompt_tokens, int64_t tokens) {
  const ModelConfig& c = decoder.config();
  const int64_t heads = c.q_heads + c.kv_heads;
  const auto layer = static_cast<double>(2 * heads * c.head_dim * c.hidden + 3 * c.hidden * c.ffn);
  const auto rows = static_cast<double>(prompt_tokens + tokens - 1);  // the last id is not fed
  const double attended = rows * (rows + 1) / 2;                      // slots, over all rows
  const auto layers = static_cast<double>(c.layers);
  return 2 * layers * rows * layer + 2 * static_cast<double>(c.vocab * c.hidden) * static_cast<double>(tokens) +
         4 * layers * static_cast<double>(c.q_heads * c.head_dim) * attended;
}

Result<RolloutResult> bench_rollout(const ModelParts& model, const std::string& folder, const RolloutCase& rollout,
                                    const std::function<bool()>& interrupted) {
  TL_TRY(const auto engine, make_engine(model, rollout));
  TL_TRY(const double warmup, sample(*engine, model, rollout, std::min(kWarmupTokens, rollout.tokens), 0, interrupted));
  static_cast<void>(warmup);
  std::optional<BenchPeer> peer;
  if (!rollout.peer.empty()) {
    TL_TRY(auto started, start_peer(folder, rollout));
    peer.emplace(std::move(started));
  }
  std::vector<double> own, others, limits = {ops::multiply_add_gflop_s()};
  const auto tokens = static_cast<double>(rollout.batch * rollout.tokens);
  for (int64_t run = 0; run < rollout.repeat; ++run) {
    TL_TRY(const double seconds,
           sample(*engine, model, rollout, rollout.tokens, static_cast<uint64_t>(run + 1), interrupted));
    own.push_back(tokens / seconds);
    limits.push_back(ops::multiply_add_gflop_s());
    if (!peer) continue;
    TL_TRY(const double theirs, peer->run());
    others.push_back(tokens / theirs);
  }
  RolloutResult result;
  result.own = rates_of(own);
  if (peer) {
    result.peer = rates_of(others);
    TL_TRY(const Json last, peer->finish());
    result.peer_version = last.value("version", "");
  }
  result.gflop_s = median(limits);
  result.flop_per_token =
      rollout_flop(*model.decoder, rollout.prompt_tokens, rollout.tokens) / static_cast<double>(rollout.tokens);
  result.flop_fraction = result.own.median * result.flop_per_token / (result.gflop_s * 1e9);
  return result;
}

void add_bench_rollout(CLI::App& bench, int* exit_status) {
  CLI::App* command = bench.add_subcommand("rollout", "Sampled tokens a second of a full batch through the engine");
  auto options = std::make_shared<RolloutBenchOptions>();
  RolloutCase& r = options->rollout;
  const CLI::Range positive(int64_t{1}, int64_t{1} << 30);
  command->add_option("-m,--model", options->model, "model directory in Hugging Face form")->required();
  command->add_option("--dtype", options->dtype, "compute and KV dtype: fp32 or bf16 (default: the checkpoint's)")
      ->check(CLI::IsMember({"fp32", "bf16"}));
  command->add_option("--weights", options->weights, "int8 or int4: quantize the matrices while loading")
      ->check(CLI::IsMember({"int8", "int4"}));
  command->add_option("--threads", options->threads, "threads (0: all cores)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("--batch", options->batches, "samples, e.g. 64,128,512")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--tokens", r.tokens, "ids sampled of each")->check(positive)->capture_default_str();
  command->add_option("--prompt", r.prompt_tokens, "ids of the prompt")->check(positive)->capture_default_str();
  command->add_option("--kv", r.kv, "KV policy")->capture_default_str();
  command->add_flag("--exact", r.exact, "bit-identical whatever the batch");
  command->add_option("--repeat", r.repeat, "timed runs; the median is reported")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--peer", r.peer, "a program to run in turn, e.g. python bench/peers/transformers_rollout.py");
  command->add_option("--json", options->json, "append a JSON line a measurement to FILE; - is standard output");
  command->callback([options, exit_status] { *exit_status = report(run_rollout_bench(*options)); });
}

}  // namespace throughline

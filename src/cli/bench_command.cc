#include "cli/bench_command.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>

#include "base/files.h"
#include "base/json.h"
#include "cli/bench_compare_command.h"
#include "cli/bench_rollout.h"
#include "cli/bench_run.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/report.h"
#include "cli/version.h"

namespace throughline {
namespace {

enum class BenchKind { kDecode, kPrefill };

struct BenchOptions {
  std::string model, dtype, kv_dtype, weights, device = "cpu", json, kv = "full";
  bool mmap = true, exact = false;
  int threads = 0;
  std::vector<int64_t> depths = {512, 8192};
  std::vector<int64_t> batches = {1};
  BenchSettings settings;
};

std::string weights_name(const Decoder& decoder) {
  if (!decoder.config().weights.empty()) return decoder.config().weights;
  return decoder.dtype() == at::kFloat ? "fp32" : "bf16";
}

Json to_json(BenchKind kind, const BenchOptions& options, const Decoder& decoder, const BenchCase& bench_case,
             const BenchResult& result) {
  Json out = {{"engine", "throughline"},
              {"version", kVersion},
              {"bench", kind == BenchKind::kDecode ? "decode" : "prefill"},
              {"model", model_name(options.model)},
              {"dtype", decoder.dtype() == at::kFloat ? "fp32" : "bf16"},
              {"weights", weights_name(decoder)},
              {"kv_dtype", options.settings.int8_kv        ? "int8"
                           : decoder.dtype() == at::kFloat ? "fp32"
                                                           : "bf16"},
              {"kv", bench_case.kv},
              {"exact", options.exact},
              {"threads", at::get_num_threads()},
              {"batch", bench_case.batch},
              {"depth", bench_case.depth},
              {"tok_s_median", result.tok_s_median},
              {"tok_s_min", result.tok_s_min},
              {"tok_s_max", result.tok_s_max},
              {"peak_rss_mib", result.peak_rss_mib},
              {"kv_bytes", result.kv_bytes},
              {"bytes_per_step", result.bytes_per_step},
              {"bw_gb_s", result.bw_gb_s},
              {"roofline_fraction", result.roofline_fraction}};
  if (kind == BenchKind::kDecode) {
    out["cached_tokens"] = result.cached_tokens;
    out["event_ms"] = result.event_s * 1e3;
    out["event_interval"] = result.event_interval;
  }
  return out;
}

// The table goes to standard output, or to standard error where that carries the JSON lines.
class Table {
 public:
  explicit Table(std::FILE* file) : file_(file) {}
  void head() {
    fmt::print(file_, "{:<40} {:>5} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>8} {:>8}\n", "kv", "batch", "depth",
               "tok/s", "min", "max", "RSS MiB", "KV MiB", "MiB/step", "bw GB/s", "roofline");
  }
  void row(const BenchCase& c, const BenchResult& r) {
    constexpr double kMib = 1 << 20;
    fmt::print(file_, "{:<40} {:>5} {:>7} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.0f} {:>9.1f} {:>10.1f} {:>8.1f} {:>7.1f}%\n",
               c.kv, c.batch, c.depth, r.tok_s_median, r.tok_s_min, r.tok_s_max, r.peak_rss_mib,
               static_cast<double>(r.kv_bytes) / kMib, r.bytes_per_step / kMib, r.bw_gb_s, r.roofline_fraction * 100);
    std::fflush(file_);
  }

 private:
  std::FILE* file_;
};

Result<int> run_bench(BenchKind kind, const BenchOptions& options) {
  if (options.device != "cpu") {
    return Error{"this build has no CUDA plug-in", "--device " + options.device, "use --device cpu"};
  }
  at::set_num_threads(options.threads > 0 ? options.threads
                                          : static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  TL_TRY(const std::vector<std::string> specs, policy_specs(options.kv));
  TL_TRY(const auto decoder,
         Decoder::load(options.model, {.dtype = options.dtype, .weights = options.weights, .mmap = options.mmap}));
  std::optional<LineWriter> json;
  if (!options.json.empty()) {
    TL_TRY(auto writer, LineWriter::append(options.json));
    json.emplace(std::move(writer));
  }
  Table table(options.json == "-" ? stderr : stdout);
  table.head();
  for (const std::string& spec : specs) {
    for (const int64_t batch : options.batches) {
      for (const int64_t depth : options.depths) {
        const BenchCase bench_case = {spec, batch, depth};
        if (on_terminal()) fmt::print(stderr, "\r\033[K{} batch {} depth {} ...\r", spec, batch, depth);
        const auto result = kind == BenchKind::kDecode ? bench_decode(*decoder, bench_case, options.settings)
                                                       : bench_prefill(*decoder, bench_case, options.settings);
        if (on_terminal()) fmt::print(stderr, "\033[K");
        if (interrupted()) return kInterruptedExit;
        if (!result.ok()) return result.error();
        table.row(bench_case, *result);
        if (json) TL_TRY_STATUS(json->write(dump_json(to_json(kind, options, *decoder, bench_case, *result))));
      }
    }
  }
  return 0;
}

void add_kind(CLI::App& bench, BenchKind kind, int* exit_status) {
  const bool decode = kind == BenchKind::kDecode;
  CLI::App* command = decode ? bench.add_subcommand("decode", "Tokens a second at a depth; K and V are random")
                             : bench.add_subcommand("prefill", "Prompt tokens a second");
  auto options = std::make_shared<BenchOptions>();
  options->settings.interrupted = interrupted;
  if (!decode) options->depths = {512, 2048};
  BenchSettings& s = options->settings;
  const CLI::Range positive(int64_t{1}, int64_t{1} << 30);
  command->add_option("-m,--model", options->model, "model directory in Hugging Face form")->required();
  command->add_option("--dtype", options->dtype, "compute and KV dtype: fp32 or bf16 (default: the checkpoint's)")
      ->check(CLI::IsMember({"fp32", "bf16"}));
  command
      ->add_option("--weights", options->weights,
                   "int8 or int4: quantize the matrices while loading (default: as the files hold them)")
      ->check(CLI::IsMember({"int8", "int4"}));
  command->add_option("--kv-dtype", options->kv_dtype, "int8: K and V in 8 bits (default: as --dtype)")
      ->check(CLI::IsMember({"int8"}));
  command->add_flag("!--no-mmap", options->mmap, "copy the weights into huge pages first");
  command->add_flag("--exact", options->exact, "sums in a fixed order, as training and --exact elsewhere");
  command->add_option("--device", options->device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--threads", options->threads, "threads (0: all cores)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command
      ->add_option("--depth", options->depths,
                   decode ? "logical tokens in the context, e.g. 512,8192" : "tokens of the prompt, e.g. 512,2048")
      ->delimiter(',')
      ->check(positive)
      ->capture_default_str();
  command->add_option("--batch", options->batches, "sequences, e.g. 1,8")
      ->delimiter(',')
      ->check(positive)
      ->capture_default_str();
  command->add_option("--kv", options->kv, "KV policies, separated by ; (quote them)")->capture_default_str();
  if (decode) {
    command->add_option("--tokens", s.tokens, "steps a timed run")->check(positive)->capture_default_str();
    command->add_option("--prompt", s.prompt_tokens, "tokens of the depth that are the prompt")
        ->check(positive)
        ->capture_default_str();
  } else {
    command->add_option("--slice", s.slice_tokens, "rows a step")->check(positive)->capture_default_str();
  }
  command->add_option("--repeat", s.repeat, "timed runs; the median is reported")
      ->check(positive)
      ->capture_default_str();
  command
      ->add_option("--bandwidth-mib", s.bandwidth_mib,
                   "MiB read to measure the memory's speed; many times the largest cache")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--json", options->json, "append a JSON line a measurement to FILE; - is standard output");
  command->callback([kind, options, exit_status] {
    options->settings.int8_kv = options->kv_dtype == "int8";
    if (options->exact) options->settings.mode = ops::NumericMode::kExact;
    *exit_status = report(run_bench(kind, *options));
  });
}

}  // namespace

void add_bench_command(CLI::App& app, int* exit_status) {
  CLI::App* bench = app.add_subcommand("bench", "Measure speed, memory and how close to the memory's speed it is");
  bench->require_subcommand(1);
  add_kind(*bench, BenchKind::kDecode, exit_status);
  add_kind(*bench, BenchKind::kPrefill, exit_status);
  add_bench_rollout(*bench, exit_status);
  add_bench_compare(*bench, exit_status);
}

}  // namespace throughline

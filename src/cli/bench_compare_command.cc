#include "cli/bench_compare_command.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>

#include "base/files.h"
#include "base/plot_svg.h"
#include "cli/bench_compare.h"
#include "cli/bench_report.h"
#include "cli/bench_run.h"
#include "cli/bench_worker.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/report.h"

namespace throughline {
namespace {

namespace fs = std::filesystem;

struct CompareOptions {
  std::string model, peers, output = "bench-compare";
  std::vector<std::string> only, weights = {"checkpoint"};
  std::string kv = "full";
  bool mmap = true, int8_kv = false;
  std::vector<int64_t> depths = {512, 8192}, batches = {1}, prefill;
  CompareSettings settings;
};

// "AMD EPYC, 2 threads, Linux 6.1, 2026-11-22"
std::string machine_line(int64_t threads) {
  std::string cpu = "unknown processor";
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos)
      cpu = line.substr(line.find(": ") + 2);
  }
  utsname system{};
  uname(&system);
  const std::time_t now = std::time(nullptr);
  char day[16];
  std::strftime(day, sizeof day, "%Y-%m-%d", std::gmtime(&now));
  return fmt::format("{}, {} threads, {} {}, {}.", cpu, threads, system.sysname, system.release, day);
}

// This process's own, as a shell would take it.
std::string own_command_line() {
  std::ifstream file("/proc/self/cmdline");
  std::string out;
  for (std::string word; std::getline(file, word, '\0');) {
    const bool plain = word.find_first_of(" ;'\"$&|<>()") == std::string::npos;
    out += (out.empty() ? "" : " ") + (plain ? word : "'" + word + "'");
  }
  return out;
}

Result<std::vector<BenchEngine>> own_engines(const CompareOptions& options) {
  TL_TRY(const std::vector<std::string> specs, policy_specs(options.kv));
  std::vector<BenchEngine> out;
  for (const std::string& spec : specs) {
    for (const std::string& weights : options.weights) {
      BenchEngine engine{.name = "throughline " + spec, .own = true};
      engine.flags = "--kv " + spec;
      engine.command = {"/proc/self/exe", "bench", "worker", "--model", options.model, "--kv", spec};
      if (weights != "checkpoint") {
        engine.name += ", " + weights;
        engine.flags += " --weights " + weights;
        engine.command.insert(engine.command.end(), {"--weights", weights});
      }
      if (!options.mmap) {
        engine.flags += " --no-mmap";
        engine.command.push_back("--no-mmap");
      }
      if (options.int8_kv) {
        engine.name += ", kv int8";
        engine.flags += " --kv-dtype int8";
        engine.command.push_back("--int8-kv");
      }
      out.push_back(std::move(engine));
    }
  }
  return out;
}

Result<std::vector<BenchEngine>> all_engines(const CompareOptions& options) {
  TL_TRY(std::vector<BenchEngine> engines, own_engines(options));
  if (options.peers.empty()) return engines;
  std::vector<std::string> missing;
  TL_TRY(const auto peers, read_peers(options.peers, &missing));
  for (const std::string& name : missing) fmt::print(stderr, "left out, not installed: {}\n", name);
  for (const std::string& name : options.only) {
    if (std::none_of(peers.begin(), peers.end(), [&](const BenchEngine& peer) { return peer.name == name; }))
      return Error{"no such peer is installed: " + name, "--only", "see the names in " + options.peers};
  }
  for (const BenchEngine& peer : peers) {
    if (options.only.empty() || std::find(options.only.begin(), options.only.end(), peer.name) != options.only.end())
      engines.push_back(peer);
  }
  return engines;
}

Result<std::vector<Json>> rows_so_far(const std::string& path) {
  std::vector<Json> out;
  std::ifstream file(path);
  int64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    TL_TRY(Json row, parse_json(line, fmt::format("{} line {}", path, ++number)));
    out.push_back(std::move(row));
  }
  return out;
}

Status write_report(const CompareOptions& options, const std::vector<Json>& rows) {
  const CompareReport report = compare_report(rows, "Throughline beside other engines: " + model_name(options.model),
                                              machine_line(options.settings.threads));
  for (const auto& [name, plot] : report.plots) {
    const SvgOptions drawing{.columns = 1, .width = 640, .height = 320};
    TL_TRY_STATUS(write_atomically(options.output + "/" + name + ".svg", draw_svg(std::span(&plot, 1), drawing)));
  }
  return write_atomically(options.output + "/README.md", report.markdown);
}

void print_rows(const std::vector<Json>& rows) {
  for (const Json& row : rows) {
    fmt::print("{:<8} {:>5} {:>7}  {:<44}", row.value("kind", ""), row.value("batch", 0), row.value("depth", 0),
               row.value("peer", ""));
    if (row.contains("error")) {
      fmt::print(" {}\n", row.value("error", ""));
      continue;
    }
    fmt::print(" {:>9.2f} {:>9.2f} {:>9.2f} {:>7.1f} {:>9.0f} {:>5.0f} %\n", row.value("tok_s_median", 0.0),
               row.value("tok_s_min", 0.0), row.value("tok_s_max", 0.0), row.value("bw_gb_s", 0.0),
               row.value("peak_rss_mib", 0.0), row.value("roofline_fraction", 0.0) * 100);
  }
  std::fflush(stdout);
}

Result<int> run_compare(CompareOptions options) {
  options.settings.interrupted = interrupted;
  if (on_terminal())
    options.settings.progress = [](const std::string& what) { fmt::print(stderr, "\r\033[K{} ...", what); };
  at::set_num_threads(static_cast<int>(options.settings.threads));  // of the bandwidth's measurement
  TL_TRY(const std::vector<BenchEngine> engines, all_engines(options));
  std::error_code failed;
  fs::create_directories(options.output, failed);
  if (failed) return Error{"cannot be made: " + failed.message(), options.output, "give another --output"};
  options.settings.error_folder = options.output;
  const std::string lines_path = options.output + "/results.jsonl";
  TL_TRY(std::vector<Json> rows, rows_so_far(lines_path));
  TL_TRY(auto lines, LineWriter::append(lines_path));
  std::vector<CompareCase> cases;
  for (const int64_t batch : options.batches) {
    for (const int64_t depth : options.depths) cases.push_back({"decode", batch, depth});
  }
  for (const int64_t tokens : options.prefill) cases.push_back({"prefill", 1, tokens});
  fmt::print("{:<8} {:>5} {:>7}  {:<44} {:>9} {:>9} {:>9} {:>7} {:>9} {:>7}\n", "", "batch", "depth", "engine", "tok/s",
             "min", "max", "bw GB/s", "RSS MiB", "roofline");
  for (const CompareCase& each : cases) {
    auto measured = compare_engines(engines, each, options.settings);
    if (on_terminal()) fmt::print(stderr, "\r\033[K");
    if (interrupted()) return kInterruptedExit;
    if (!measured.ok()) return measured.error();
    print_rows(*measured);
    for (Json& row : *measured) {
      row["model"] = model_name(options.model);
      row["threads"] = options.settings.threads;
      row["command"] = own_command_line();
      TL_TRY_STATUS(lines.write(dump_json(row)));
      rows.push_back(std::move(row));
    }
    TL_TRY_STATUS(write_report(options, rows));
  }
  fmt::print("{}/README.md\n", options.output);
  return 0;
}

void add_worker(CLI::App& bench, int* exit_status) {
  CLI::App* command = bench.add_subcommand("worker", "One engine of bench compare, told what to do on standard input");
  command->group("");  // not for people
  auto options = std::make_shared<BenchWorkerOptions>();
  command->add_option("-m,--model", options->model)->required();
  command->add_option("--dtype", options->dtype);
  command->add_option("--weights", options->weights);
  command->add_option("--kv", options->kv);
  command->add_flag("!--no-mmap", options->mmap);
  command->add_flag("--int8-kv", options->int8_kv);
  command->callback([options, exit_status] {
    const Status status = bench_worker(*options);
    *exit_status = status.ok() ? 0 : 1;
  });
}

}  // namespace

void add_bench_compare(CLI::App& bench, int* exit_status) {
  add_worker(bench, exit_status);
  CLI::App* command = bench.add_subcommand("compare", "Beside other engines, in turn within the same minutes");
  auto options = std::make_shared<CompareOptions>();
  CompareSettings& s = options->settings;
  const CLI::Range positive(int64_t{1}, int64_t{1} << 30);
  command->add_option("-m,--model", options->model, "model directory in Hugging Face form")->required();
  command->add_option("--peers", options->peers,
                      "peers.json that bench/peers/setup.sh wrote; none: only our own settings");
  command->add_option("--only", options->only, "only these peers, by name")->delimiter(',');
  command->add_option("--kv", options->kv, "our KV policies, separated by ; (quote them)")->capture_default_str();
  command->add_option("--weights", options->weights, "our weights: checkpoint (as the files hold them), int8, int4")
      ->delimiter(',')
      ->check(CLI::IsMember({"checkpoint", "int8", "int4"}))
      ->capture_default_str();
  command->add_flag("!--no-mmap", options->mmap, "ours: copy the weights into huge pages");
  command->add_flag("--int8-kv", options->int8_kv, "ours: K and V in 8 bits");
  command->add_option("--depth", options->depths, "decode: tokens in the context")
      ->delimiter(',')
      ->check(positive)
      ->capture_default_str();
  command->add_option("--batch", options->batches, "decode: sequences")
      ->delimiter(',')
      ->check(positive)
      ->capture_default_str();
  command->add_option("--prefill", options->prefill, "also whole prompts of so many tokens")
      ->delimiter(',')
      ->check(positive);
  command->add_option("--threads", s.threads, "threads of every engine")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--tokens", s.tokens, "steps a timed run")->check(positive)->capture_default_str();
  command->add_option("--repeat", s.repeat, "timed runs of every engine")->check(positive)->capture_default_str();
  command->add_option("--bandwidth-mib", s.bandwidth_mib, "MiB read to measure the memory's speed")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--output", options->output, "folder: results.jsonl (appended to), README.md, plots")
      ->capture_default_str();
  command->callback([options, exit_status] { *exit_status = report(run_compare(*options)); });
}

}  // namespace throughline

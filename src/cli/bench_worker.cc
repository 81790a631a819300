#include "cli/bench_worker.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cstdio>
#include <iostream>

#include "base/json.h"
#include "cli/bench_run.h"
#include "cli/version.h"

namespace throughline {
namespace {

void say(const Json& line) {
  fmt::print("{}\n", dump_json(line));
  std::fflush(stdout);
}

Result<std::string> heard() {
  std::string line;
  if (!std::getline(std::cin, line)) return Error{"ended before the measurement did", "standard input", ""};
  return line;
}

Status measure(const BenchWorkerOptions& options) {
  TL_TRY(const std::string line, heard());
  TL_TRY(const Json order, parse_json(line, "standard input"));
  for (const char* field : {"batch", "depth", "tokens", "repeat", "threads"}) {
    if (!order.contains(field) || !order[field].is_number_integer() || order[field] < 1)
      return Error{"must be a whole number of at least 1", std::string("standard input: ") + field, ""};
  }
  at::set_num_threads(order["threads"].get<int>());
  TL_TRY(const auto decoder,
         Decoder::load(options.model, {.dtype = options.dtype, .weights = options.weights, .mmap = options.mmap}));
  const BenchCase bench_case{options.kv, order["batch"], order["depth"]};
  BenchSettings settings;
  settings.tokens = order["tokens"];
  settings.repeat = order["repeat"];
  settings.int8_kv = options.int8_kv;
  settings.bandwidth_mib = 0;  // the conductor measures it
  const auto await = [](const std::string& wanted) -> Status {
    TL_TRY(const std::string word, heard());
    return word == wanted ? Status() : Error{"expected: " + wanted, "standard input", ""};
  };
  int64_t runs = 0;
  settings.before_run = [&] {
    if (runs == 0) say({{"ready", true}});
    return await("run");
  };
  settings.after_run = [&](double seconds) {
    say({{"seconds", seconds}});
    return ++runs < settings.repeat ? Status() : await("finish");  // what follows would disturb the others' runs
  };
  const bool decode = order.value("kind", "decode") == "decode";
  TL_TRY(const BenchResult result,
         decode ? bench_decode(*decoder, bench_case, settings) : bench_prefill(*decoder, bench_case, settings));
  const double events =
      result.event_interval == 0 ? 0 : result.event_s * static_cast<double>(bench_case.batch) / result.event_interval;
  say({{"done", true},
       {"version", kVersion},
       {"bytes_per_step", result.bytes_per_step},
       {"event_s_per_step", events},
       {"peak_rss_mib", result.peak_rss_mib},
       {"note", decode && options.kv != "full" ? fmt::format("cache {:.0f}", result.cached_tokens) : ""}});
  return {};
}

}  // namespace

Status bench_worker(const BenchWorkerOptions& options) {
  const Status status = measure(options);
  if (!status.ok()) say({{"error", status.error().line()}});
  return status;
}

}  // namespace throughline

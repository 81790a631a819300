// `bench compare`: Throughline beside other engines on the same shape, in turn within the same minutes.
//
// A shared machine's memory drifts by a factor of two within minutes, so figures taken one after another say little.
// Here every engine of a case stands ready at once (a process each, stopped while it has no turn), each timed run of
// one is followed by one of the next, and the memory's speed is read between them all.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace throughline {

// One engine in one setting: a program that speaks the protocol of bench_worker.h.
struct BenchEngine {
  std::string name;                  // "throughline full bf16", "llama.cpp q8_0"
  std::string flags;                 // what a reader needs to run it alike; for the table of versions
  std::vector<std::string> command;  // {depth} and the like are told over the protocol, not here
  bool own = false;
};

struct CompareCase {
  std::string kind = "decode";  // or "prefill"
  int64_t batch = 1, depth = 512;
};

struct CompareSettings {
  int64_t tokens = 32, repeat = 5, threads = 2, bandwidth_mib = 512;
  double ready_seconds = 900;  // a peer may have to compute a long prompt
  std::string error_folder;    // the engines' standard errors: ENGINE.err
  std::function<bool()> interrupted;
  std::function<void(const std::string&)> progress;
};

// peers.json as bench/peers/setup.sh writes it: {"peers": [{"name", "flags", "command": [...]}, ...]}. A program with a
// relative path lies below the file's folder; peers whose program is not there are left out and named in `missing`.
Result<std::vector<BenchEngine>> read_peers(const std::string& path, std::vector<std::string>* missing);

// One JSON object an engine: peer, version, own, batch, depth, kind, tok_s_{median,min,max}, runs, peak_rss_mib,
// bw_gb_s, bw_min, bw_max, roofline_fraction, bytes_per_step, note; or peer, batch, depth, kind and error.
Result<std::vector<Json>> compare_engines(const std::vector<BenchEngine>& engines, const CompareCase& compare_case,
                                          const CompareSettings& settings);

}  // namespace throughline

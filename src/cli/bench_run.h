// The measurements behind `throughline bench`: decode steps at a depth, or whole prefills, of one (policy, batch,
// depth).
//
// A decode step is a whole token: embedding to logits to the greedy choice, for every sequence of the batch. The cache
// is filled with random K and V, under a policy as the policy leaves it half-way between two events; an event's time is
// measured apart and spread over the steps between two events. A prefill is cut into slices as the engine does.
// The memory bandwidth is read before, between and after the timed runs. Not thread-safe; CPU only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/decoder.h"

namespace throughline {

struct BenchCase {
  std::string kv = "full";  // a policy spec
  int64_t batch = 1;
  int64_t depth = 512;  // logical tokens; for prefill the prompt's length
};

struct BenchSettings {
  int64_t tokens = 32;  // decode steps a timed run
  int64_t repeat = 3;   // timed runs
  int64_t warmup = 2;   // steps before them
  int64_t prompt_tokens = 128;
  int64_t slice_tokens = 512;  // of a prefill
  int64_t page_tokens = 64;
  bool int8_kv = false;
  ops::NumericMode mode = ops::NumericMode::kFast;
  int64_t bandwidth_mib = 512;  // read to measure the memory's speed: many times the largest cache; 0: not measured
  uint64_t seed = 1;
  std::function<bool()> interrupted;  // asked between steps; may be empty
  // Around each timed run; for a conductor that runs several engines in turn (bench_worker.h). May be empty.
  std::function<Status()> before_run;
  std::function<Status(double seconds)> after_run;
};

struct BenchResult {
  double tok_s_median = 0, tok_s_min = 0, tok_s_max = 0;  // of all sequences together
  double peak_rss_mib = 0;                                // the bandwidth test's buffer apart
  int64_t kv_bytes = 0;                                   // of the pages in use at the end
  double bytes_per_step = 0;     // what a step must read: weights once, each sequence's cached K and V
  double bw_gb_s = 0;            // median, 10^9 bytes a second
  double roofline_fraction = 0;  // bytes_per_step / bw_gb_s over the measured time of a step
  double event_s = 0;            // one event of one sequence; 0: none is ever due
  int64_t event_interval = 0;    // steps from one event to the next
  double cached_tokens = 0;      // mean over the timed steps, a layer, head and sequence
};

Result<BenchResult> bench_decode(const Decoder& decoder, const BenchCase& bench_case, const BenchSettings& settings);
Result<BenchResult> bench_prefill(const Decoder& decoder, const BenchCase& bench_case, const BenchSettings& settings);

// "full;rpc:ratio=4", as --kv has it: each spec checked and written out.
Result<std::vector<std::string>> policy_specs(const std::string& text);

}  // namespace throughline

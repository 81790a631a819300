// `bench rollout`: samples of one short prompt, a full batch of them, through the engine as training's rollouts and
// `generate` run them, against what the processor can multiply and add; engines named by --peer take turns.
//
// The limit is compute: small models' rollouts multiply each weight they read by every row of a large batch. The rate
// of fused multiply-adds is measured between the runs (ops/cpu/flop_rate.h). Operations counted: two for each weight of
// a matrix product and for each element of K and V that is attended.
#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/loaded_model.h"

namespace throughline {

struct RolloutCase {
  int64_t batch = 128;
  int64_t tokens = 256;  // sampled of each
  int64_t prompt_tokens = 4;
  int64_t repeat = 5;
  bool exact = false;
  std::string kv = "full";
  std::vector<std::string> peer;  // a program that speaks the protocol of bench_worker.h; empty: none
};

struct RolloutRates {
  double median = 0, min = 0, max = 0;  // sampled tokens a second, all samples together
};

struct RolloutResult {
  RolloutRates own, peer;
  std::string peer_version;
  double gflop_s = 0;         // median of the machine's
  double flop_per_token = 0;  // of our own; prompt included
  double flop_fraction = 0;
};

// Operations of one sample's whole rollout.
double rollout_flop(const Decoder& decoder, int64_t prompt_tokens, int64_t tokens);

Result<RolloutResult> bench_rollout(const ModelParts& model, const std::string& folder, const RolloutCase& rollout,
                                    const std::function<bool()>& interrupted);

void add_bench_rollout(CLI::App& bench, int* exit_status);

}  // namespace throughline

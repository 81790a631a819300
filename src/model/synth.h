// Random checkpoints for benchmarks: the shape of a real model, no knowledge. Written tensor by tensor in pieces of a
// few MiB, so a 7B checkpoint needs no memory to speak of.
//
// Every value is a pure function of (seed, tensor's place in the list, element), so the same options write the same
// bytes on any machine and with any thread count. Matrices are uniform with standard deviation 1/sqrt(fan-in), those
// that write into the residual stream smaller by sqrt(2 * layers); norms are 1, biases within +-0.1: activations stay
// near 1 at any depth.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/result.h"
#include "model/config.h"

namespace throughline {

struct SynthShape {
  const char* name;
  const char* help;
};
std::span<const SynthShape> synth_shapes();

struct SynthOptions {
  std::string shape;                             // a name of synth_shapes(), or the path of a config.json
  std::string dtype;                             // fp32, fp16, bf16; empty: the config's, else bf16
  uint64_t seed = 0;                             // of all values
  std::string output;                            // the folder to write; must hold no model yet
  uint64_t max_shard_bytes = uint64_t{5} << 30;  // as transformers
};

// The config that `shape` stands for, its dtype filled in.
Result<ModelConfig> synth_config(const SynthOptions& options);

// `progress` (may be empty) hears bytes done and in all; when it returns false the work stops with an Error and the
// unfinished file is removed.
Status synthesize(const SynthOptions& options, const std::function<bool(uint64_t done, uint64_t total)>& progress);

}  // namespace throughline

// A training row: one chunk of one trace, as it was sampled. A trace of several chunks gives several rows, which share
// one advantage and one trace length and never part: they stay in one optimizer step.
//
// ids are the chunk's prompt and then its response; positions restart at 0 in every row, as they did when sampled. Only
// sampled response ids are trained; carried ids are part of the prompt, forced ids have trained = 0.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/sequence_cache.h"

namespace throughline {

struct TrainRow {
  std::vector<int32_t> ids;               // prompt, then response
  int64_t prompt_tokens = 0;              // >= 1; ids[prompt_tokens ...] is the response
  std::vector<uint8_t> trained;           // [response] 1: sampled, 0: forced
  std::vector<float> behavior_logprobs;   // [response] of the distribution drawn from; NaN where forced. Empty for SFT
  std::vector<float> old_logprobs;        // [response] at the start of the update; empty: behavior_logprobs are meant
  std::vector<float> reference_logprobs;  // [response] of the reference model; looked at only with a KL term
  std::vector<EvictionRecord> evictions;  // what the policy took and when; empty: full attention
  int64_t trace = 0;                      // index of the trace among those of the optimizer step
  int64_t trace_tokens = 0;               // trained tokens of the whole trace, over all its rows
  float advantage = 0;                    // of the trace
  int64_t weight_version = 0;             // that sampled this row
  bool gap_counts = true;  // those weights are the trainer's old ones too: their log-probs can be compared

  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t response_tokens() const { return tokens() - prompt_tokens; }
};

}  // namespace throughline

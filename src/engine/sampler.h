// From one row of logits to one token id. Pure functions: same row, options, history and key, same token.
//
// Order: logit bias and penalties, what may not come is taken out, then temperature, top-k, top-p, min-p, then the draw. Log-probs are of the model's distribution (temperature 1, nothing applied); sampling_logprob is
// of the distribution drawn from. repetition_penalty sees prompt and output (transformers), presence and frequency
// penalties the output only (OpenAI). Ties: greedy takes the smallest id; top-k keeps the smaller ids.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "think/trace.h"

namespace throughline {

struct SamplingOptions {
  double temperature = 1;         // 0 (or under 1e-6, whose inverse fp32 may not hold): greedy
  double top_p = 1;               // (0, 1]
  int64_t top_k = 0;              // 0: off
  double min_p = 0;               // [0, 1)
  double repetition_penalty = 1;  // [0.01, 100]
  double presence_penalty = 0;    // [-2, 2]
  double frequency_penalty = 0;   // [-2, 2]
  std::map<int32_t, double> logit_bias;
  uint64_t seed = 0;
  int64_t min_tokens = 0;               // EOS and stop ids cannot be drawn before
  std::vector<int32_t> stop_token_ids;  // end the trace when sampled
  std::vector<std::string> stop;        // strings
  bool ignore_eos = false;
  int64_t logprobs = -1;  // -1: none; N: the token's and the N best
  bool sampling_logprobs = false;

  bool greedy() const { return temperature < 1e-6; }
  bool has_penalties() const { return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0; }
};

// Checks ranges and ids; the error names the field.
Status check_sampling(const SamplingOptions& options, int64_t vocab, const std::string& where);

// What the penalties count (without any, only `tokens` need be right).
struct TokenHistory {
  std::unordered_map<int32_t, int64_t> output;  // id -> times generated
  std::unordered_map<int32_t, bool> prompt;     // ids of the query
  int64_t tokens = 0;                           // generated so far in the whole trace
};

// Reused between rows; holds no result.
struct SamplerScratch {
  std::vector<uint64_t> allowed;  // the caller's, for DrawLimits
  std::vector<float> logits;
  std::vector<float> weights, sorted;
  std::vector<int32_t> order;
};

// What stands besides the options.
struct DrawLimits {
  std::span<const int32_t> forbidden;  // ids that cannot be drawn (EOS before min_tokens)
  std::span<const uint64_t> allowed;   // a bit an id; those beyond it and those of 0 cannot be drawn. Empty: all can
};

// `sample` is the index within the request.
TokenDraw draw_token(std::span<const float> logits, const SamplingOptions& options, const TokenHistory& history,
                     const DrawLimits& limits, uint64_t sample, SamplerScratch& scratch);

// What draw_token() reports of an id that was given: its log-prob, and those of the `top` best.
TokenDraw score_token(std::span<const float> logits, int32_t id, int64_t top, SamplerScratch& scratch);

}  // namespace throughline

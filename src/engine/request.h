// What goes into the engine and what comes out.
//
// A request is one query and n samples of it; each sample is one trace. Callbacks run on the thread that calls
// Engine::step(); they must not call the engine (but may set flags that lead to cancel()).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/spec.h"
#include "cache/sequence_cache.h"
#include "engine/sampler.h"
#include "model/decoder.h"
#include "think/environment.h"
#include "think/trace.h"

namespace throughline {

// A state of the weights. After a change in place the same decoder is another version.
struct WeightVersion {
  const Decoder* decoder = nullptr;
  int64_t version = 0;
};

struct ChunkKv {
  CacheStats stats;
  std::vector<EvictionRecord> records;
};

struct SampleTiming {
  double queue_s = 0, prefill_s = 0, decode_s = 0;
};

struct SampleResult {
  int64_t sample = 0;
  Trace trace;
  std::vector<ChunkKv> kv;  // one a chunk
  SampleTiming timing;
  std::optional<std::string> text;  // without the ending EOS, stop id or stop string; nullopt without a tokenizer
  std::string stop_string;          // the one that ended it; empty otherwise
  std::string error;                // one line, when reason_of(trace.finish) is kError
  int64_t preemptions = 0;
  int64_t draft_tokens = 0;             // fed before they were sampled (engine/speculation.h)
  int64_t accepted_tokens = 0;          // of these, those that then were
  int64_t prefix_hit_tokens = 0;        // of the first chunk's prompt, taken from the prefix cache
  std::vector<TokenDraw> prompt_draws;  // with prompt_logprobs: one an id of the query, the first without log-prob
};

// What a listener sees of a running sample.
struct SampleProgress {
  int64_t sample = 0;
  int64_t chunk = 0;
  int64_t tokens = 0;                             // generated so far
  int64_t kv_tokens = 0;                          // cached now
  int64_t context_tokens = 0;                     // seen by this chunk
  int64_t draft_tokens = 0, accepted_tokens = 0;  // up to the step before
  bool thinking = false;
  std::string_view text;  // new, certain text (empty without a tokenizer)
  // All of it, for listeners that keep their own place in it; valid during the call.
  const Trace* trace = nullptr;
  std::span<const ChunkKv> closed_kv;      // of the chunks before the present one
  std::span<const EvictionRecord> events;  // of the present chunk
};

struct Request {
  std::vector<int32_t> prompt_ids;
  // Whether the prompt ends within thinking; unset: by the tags in prompt_ids. A caller that rendered a template knows
  // better.
  std::optional<bool> opens_thinking;
  SamplingOptions sampling;
  int64_t max_tokens = -1;  // -1: up to the context
  int64_t samples = 1;
  bool stop_in_thinking = true;  // stop strings count in thinking too
  bool continues_text = false;   // what is said is text that follows the prompt's: a space between them stays
  int64_t prompt_logprobs = -1;  // -1: none; N: of the query's ids and the N best (SampleResult::prompt_draws)
  std::shared_ptr<const EvictionPolicy> policy;    // null: full
  std::shared_ptr<const Environment> environment;  // null: longcot
  std::optional<std::chrono::steady_clock::time_point> deadline;
  double weight = 1;  // its share beside others while not all can run (scheduler.h)

  std::function<void(const SampleProgress&)> on_progress;  // after each sampled token; may be empty
  std::function<void(SampleResult)> on_finish;             // once a sample
};

}  // namespace throughline

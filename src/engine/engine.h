// The engine: continuous batching of traces over one decoder and one page pool.
//
// Each step takes, of every running sample, its next rows (a prefill slice, one decode row, or forced ids), runs them
// as one batch, lets due policies compress, samples, and hands ids to the samples' environments. Samples are admitted
// in order while pages are free; when pages run out the last is parked in host memory or dropped and replayed later
// (DESIGN 4.1; scheduler.h). step() belongs to one thread; submit() and cancel() may come from any.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include "base/result.h"
#include "engine/request.h"
#include "engine/speculation.h"
#include "model/decoder.h"
#include "text/thinking_tags.h"
#include "text/tokenizer.h"

namespace throughline {

struct EngineOptions {
  int64_t kv_memory_bytes = 0;         // 0: half of the memory that is free
  int64_t park_memory_bytes = 0;       // host memory for preempted sequences; 0: replay instead
  int64_t batch_max = 64;              // running samples at most
  int64_t max_context = 0;             // 0: the model's max_position_embeddings
  int64_t prefill_slice_tokens = 512;  // prefill rows a step at most, shared by the prompts under way
  int64_t turn_tokens = 1024;          // a turn, while others wait (with park memory): scheduler.h
  int64_t page_tokens = 0;             // 0: 16 for contexts up to 2048, else 64
  bool prefix_cache = true;
  double prefix_cache_share = 0.25;  // of the pages that prompts nobody uses any more may keep
  bool exact = false;                // bit-identical whatever the batch (DESIGN 4.4)
  bool int8_kv = false;              // K and V in 8 bits with a scale a token and head; else in the decoder's dtype
  SpeculationOptions speculation;
};

struct EngineStats {
  int64_t waiting = 0, running = 0;
  int64_t pages = 0, used_pages = 0, shared_prefix_pages = 0;
  int64_t budgets_lowered = 0, preemptions_parked = 0, preemptions_replayed = 0;  // for memory
  int64_t turns = 0;                                                              // parked for another's turn
  int64_t sampled_tokens = 0, prefill_tokens = 0, prefix_hit_tokens = 0, steps = 0;
  int64_t drafts = 0, draft_tokens = 0, accepted_tokens = 0;  // times a sample had some; ids; of these as sampled
};

// What a client may read of an exception: one line, without libtorch's backtrace and its addresses.
std::string internal_error(const std::exception& failure);

class Engine {
 public:
  // decoder and tokenizer (may be null: ids only) must outlive the engine. `eos_ids`: what ends a trace, the union of
  // config.json's and generation_config.json's (GenerationDefaults).
  static Result<std::unique_ptr<Engine>> create(const Decoder* decoder, const Tokenizer* tokenizer,
                                                std::vector<int32_t> eos_ids, const EngineOptions& options);
  ~Engine();

  using Ticket = uint64_t;
  // Checks the request and queues it; callbacks come from later steps.
  Result<Ticket> submit(Request request, const std::string& where);
  // Ends all unfinished samples of a request before the next step: kCancelled, kDisconnect or kDeadline.
  void cancel(Ticket ticket, FinishDetail detail);

  // One step. False when there was nothing to do. What fails within a batch ends its samples with kInternal; anything
  // else (memory that cannot be had, a callback) is thrown, and would be again.
  bool step();
  // After a step that threw: ends everything that was submitted with kInternal and this error, so that the engine is
  // idle and can go on. Belongs to step()'s thread; callbacks come from here.
  void fail_all(const std::string& error);
  void run_until_idle();
  // Chunks that begin in later steps run with these weights; one under way ends on those it began with, so that each
  // has one version (ChunkTrace::weight_version). A batch holds one version, at most two are in use; prompt pages of
  // others are given up. Any thread. REQUIRES: the decoder, of the engine's own shape, outlives the chunks that use it
  // and changes under none of them.
  void use_weights(WeightVersion weights);

  EngineStats stats() const;
  const EngineOptions& options() const;  // with the defaults filled in
  const std::optional<ThinkingTags>& thinking_tags() const;
  int64_t max_context() const;

 private:
  Engine();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace throughline

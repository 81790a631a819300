// Walks one trace through its environment: takes the ids that were sampled, forces ids where the rules say so, opens
// the next chunk, and ends the trace with a distinct reason. Deterministic, ids only.
//
// The caller (engine/) feeds chunk().prompt_ids and chunk().token_ids in order, samples one id whenever all of them
// have been fed, and hands it to add_sampled(). Forced ids simply appear in chunk().token_ids. Rules:
// docs/environments.md.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "think/environment.h"
#include "think/loop_detector.h"
#include "think/trace.h"

namespace throughline {

struct ThinkingIds {  // the model's tags, each a single id
  int32_t open = -1, close = -1;
};

struct TraceLimits {
  int64_t max_tokens = kUnlimited;   // new tokens over all chunks, forced ones included
  int64_t max_context = kUnlimited;  // logical positions 0 .. max_context-1 exist
  bool ignore_eos = false;
  std::vector<int32_t> eos_ids, stop_ids;
};

class TraceRunner {
 public:
  // `environment` must outlive the runner. `thinking` is empty for models without tags; opened_by_prompt: the template
  // has already opened thinking. `replacement` is what budget forcing writes. REQUIRES: query_ids not empty.
  TraceRunner(const Environment& environment, std::vector<int32_t> query_ids, TraceLimits limits,
              std::optional<ThinkingIds> thinking, bool opened_by_prompt, std::vector<int32_t> replacement);

  const Trace& trace() const { return trace_; }
  Trace take() { return std::move(trace_); }
  bool finished() const { return trace_.finish != FinishDetail::kNone; }
  const ChunkTrace& chunk() const { return trace_.chunks.back(); }
  int64_t chunk_index() const { return static_cast<int64_t>(trace_.chunks.size()) - 1; }
  int64_t tokens() const { return total_tokens_; }
  bool thinking() const { return thinking_now_; }
  // At most so many ids will be sampled before the rules force one, open the next chunk or end the trace.
  int64_t free_tokens() const { return std::min(chunk_room(), thinking_room()); }

  // Of the weights that the present chunk is run with. To be called before any of its ids is fed.
  void set_weight_version(int64_t version);
  // REQUIRES: !finished().
  void add_sampled(TokenDraw draw);
  // Ends the trace from outside: stop string, grammar, cancel, deadline, error. No effect when it is finished already
  // (but a stop goes before a limit).
  void finish(FinishDetail detail);

 private:
  void open_chunk(std::vector<int32_t> prompt);
  void append(TokenDraw draw, bool forced);
  void flush_forced();
  void settle();  // after ids were appended: forced closes, chunk ends
  bool ends_at(int32_t id);
  int64_t chunk_room() const;  // tokens this chunk may still take by environment and max_tokens
  bool is_last_chunk() const;
  int64_t thinking_room() const;  // tokens until a close must be forced
  void track_thinking(int32_t id);

  const Environment& environment_;
  TraceLimits limits_;
  std::optional<ThinkingIds> tags_;
  std::vector<int32_t> replacement_;
  Trace trace_;
  std::deque<int32_t> to_force_;
  std::optional<LoopDetector> loops_;
  int64_t total_tokens_ = 0;
  int64_t thinking_tokens_ = 0;
  int64_t replacements_ = 0;
  int64_t chunk_end_ = 0;  // of all tokens, where the present chunk must end
  bool thinking_now_ = false;
  bool thinking_done_ = false;
  bool closed_by_force_ = false;
  bool chunk_cut_by_context_ = false;
};

}  // namespace throughline

// One line of a run's traces.jsonl: a rollout as a person wants to see it, chunk by chunk. Written by the GRPO loop,
// read by `train view`. The contract is docs/reading-a-run.md. Not what training reads (that is TrainRow).
//
// {"step","index","group","task","prompt","gold","reward","advantage","verdict","finish_reason","finish_detail","tokens",
//  "weight_version","chunks":[{"prompt_ids","token_ids","forced","text","token_ends","carried_tokens","head_tokens",
//  "weight_version"}]}
//
// Lines are untrusted when read: wrong types, ranges outside the chunk and over-long lines are Errors that name the
// field. Unknown keys are passed over; step, reward and chunks are required, all else has a default. Thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "think/trace.h"

namespace throughline {

class Tokenizer;

constexpr size_t kTraceLineLimit = size_t{32} << 20;  // bytes: two million ids have room

struct TraceLineChunk {
  std::vector<int32_t> prompt_ids;
  std::vector<int32_t> token_ids;
  std::vector<std::pair<int64_t, int64_t>> forced;  // [from, to) into token_ids, ascending, disjoint
  std::string text;                                 // of token_ids, special tokens spelled out
  std::vector<int64_t> token_ends;  // [token_ids] where each token ends in `text`, in bytes; empty: not known
  int64_t carried_tokens = 0;       // the last ids of prompt_ids come from earlier chunks: head, then tail
  int64_t head_tokens = 0;          // how many of the carried ids are the head
  int64_t weight_version = 0;       // that sampled this chunk
};

// What the line says before its chunks: enough for a list of traces.
struct TraceSummary {
  int64_t step = 0;
  int64_t index = 0;  // of the trace in its step
  int64_t group = 0;  // of the prompt in its step
  std::string task;
  std::string prompt;  // as a person reads it
  std::string gold;    // the right answer
  double reward = 0;   // not finite: null
  double advantage = 0;
  std::string verdict;  // "right", "wrong", "no_answer", ...
  std::string finish_reason, finish_detail;
  int64_t tokens = 0;          // generated, over all chunks, forced ones included
  int64_t weight_version = 0;  // of the first chunk
};

struct TraceLine : TraceSummary {
  std::vector<TraceLineChunk> chunks;
};

// One line, without its newline. Keys in the order above: parse_trace_summary relies on "chunks" coming last.
std::string write_trace_line(const TraceLine& line);

// The trace's chunks with their texts. `head_tokens`: of the environment (delethink's `head`; it opens the carried ids
// from the second chunk on). Without a tokenizer, texts are empty.
std::vector<TraceLineChunk> trace_line_chunks(const Trace& trace, int64_t head_tokens, const Tokenizer* tokenizer);
// Fills in tokens, finish_reason, finish_detail, weight_version and chunks.
void set_trace(TraceLine& line, const Trace& trace, int64_t head_tokens, const Tokenizer* tokenizer);

// `where` names the line in errors: "runs/a/traces.jsonl line 12".
Result<TraceLine> parse_trace_line(std::string_view text, const std::string& where);
// Only what stands before "chunks": quick, whatever the trace's length. Chunks are looked at by parse_trace_line alone.
Result<TraceSummary> parse_trace_summary(std::string_view text, const std::string& where);

}  // namespace throughline

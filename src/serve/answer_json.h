// The JSON of answers: usage, log-probs, and the `throughline` object's parts. Pure functions of what the engine left.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "engine/request.h"
#include "serve/answer_stream.h"
#include "serve/sample_writer.h"
#include "text/tokenizer.h"

namespace throughline::serve {

// What all samples of a request share, as their answers name it.
struct AnswerContext {
  const Tokenizer* tokenizer = nullptr;            // null: texts are empty
  std::shared_ptr<const EvictionPolicy> policy;    // null: full
  std::shared_ptr<const Environment> environment;  // null: longcot
  std::string kv_spec = "full", think_spec = "longcot";
  int64_t layers = 0, kv_heads = 0;
  uint64_t seed = 0;
  int64_t priority = 0;
  bool tokens_as_ids = false;
  bool limited_by_memory = false;     // max_tokens was cut to what the KV memory holds
  std::vector<int64_t> shown_layers;  // of KV events; empty: all
};

struct Usage {
  int64_t prompt = 0, completion = 0, reasoning = 0, cached = 0;
  void add(const SampleResult& result);  // not the prompt
};
Json usage_json(const Usage& usage);

int64_t reasoning_tokens(const Trace& trace);

// OpenAI's word for the ending. Whatever cut an answer short is "length"; finish_detail tells them apart.
std::string finish_reason(FinishDetail detail);
// The stop string or stop id, else null (vLLM's stop_reason).
Json stop_reason(const SampleResult& result);

Json chat_logprobs(const Piece& piece, const AnswerContext& context);
// The legacy lists; `offset` is the length in characters of the text before, and is moved on.
Json completion_logprobs(const std::vector<TokenDraw>& draws, const std::vector<std::string>& texts, int64_t* offset,
                         const AnswerContext& context);
// vLLM's prompt_logprobs: null, then {"id": {"logprob", "rank", "decoded_token"}}.
Json prompt_logprobs_json(const std::vector<TokenDraw>& draws, const AnswerContext& context);

Json progress_json(const SampleView& view);
Json chunk_event(const ChunkNews& news, int64_t query_tokens, int64_t head_tokens, const AnswerContext& context);
Json final_json(int64_t index, const SampleResult& result, const AnswerContext& context);
Json timings_json(const SampleResult& result);  // llama-server's

// What of a chunk's context each layer (and head) still holds, from event to event.
class KeptSets {
 public:
  Json event(const KvNews& news, const AnswerContext& context);

 private:
  int64_t chunk_ = -1;
  int32_t seen_ = 0;
  std::vector<std::vector<int32_t>> kept_;
};

// Tokens of the first response that every later chunk repeats.
int64_t head_tokens(const AnswerContext& context, int64_t first_chunk_tokens);
int64_t characters(std::string_view text);  // code points

}  // namespace throughline::serve

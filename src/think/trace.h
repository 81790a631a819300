// A Trace: everything one sample said, chunk by chunk, in token ids. What sampling leaves and what training reads.
//
// A chunk is one context: a prompt and the ids that followed it. LongCoT has one chunk, Delethink several. Ids are
// never decoded and encoded again. Forced ids are part of token_ids but were not drawn: they have no log-prob and no
// loss.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

namespace throughline {

enum class FinishReason { kNone, kStop, kLength, kCancelled, kError };
enum class FinishDetail {
  kNone,
  kEos,
  kStopString,
  kStopToken,
  kGrammar,  // the answer is whole (Request::grammar)
  kMaxTokens,
  kMaxThinking,
  kMaxChunks,
  kLoop,
  kContext,
  kDeadline,
  kDisconnect,
  kCancelled,
  kKvMemory,
  kInternal
};

FinishReason reason_of(FinishDetail detail);
std::string_view to_string(FinishReason reason);
std::string_view to_string(FinishDetail detail);

constexpr float kNoLogprob = std::numeric_limits<float>::quiet_NaN();  // of forced ids

struct TopLogprob {
  int32_t id;
  float logprob;
};

// One generated token as the sampler knows it.
struct TokenDraw {
  int32_t id = 0;
  float logprob = kNoLogprob;           // of the model's distribution (temperature 1, no penalties)
  float sampling_logprob = kNoLogprob;  // of the distribution drawn from
  std::vector<TopLogprob> top;          // of the model's distribution, best first
};

struct ChunkTrace {
  std::vector<int32_t> prompt_ids;
  std::vector<int32_t> token_ids;
  std::vector<TokenDraw> draws;                     // one a token
  std::vector<std::pair<int64_t, int64_t>> forced;  // [from, to) into token_ids, ascending, disjoint
  int64_t weight_version = 0;

  bool is_forced(int64_t index) const;
};

struct Trace {
  std::vector<int32_t> query_ids;
  std::vector<ChunkTrace> chunks;
  FinishDetail finish = FinishDetail::kNone;
  // Of all ids of all chunks in order: thinking is [thinking_from, thinking_to), the answer starts at answer_from.
  // -1: not there (yet). The tags themselves belong to neither.
  int64_t thinking_from = -1, thinking_to = -1, answer_from = 0;

  int64_t tokens() const;                  // generated, over all chunks
  std::vector<int32_t> token_ids() const;  // the same in one run
};

}  // namespace throughline

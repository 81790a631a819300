#include "train/rows_from_trace.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace throughline {

Result<std::vector<TrainRow>> rows_from_trace(SampleResult&& result, int64_t trace) {
  std::vector<ChunkTrace>& chunks = result.trace.chunks;
  TL_CHECK(result.kv.size() == chunks.size(), "a sample has one KV entry a chunk");
  std::vector<TrainRow> rows;
  int64_t trained = 0;
  for (size_t c = 0; c < chunks.size(); ++c) {
    ChunkTrace& chunk = chunks[c];
    const size_t response = chunk.token_ids.size();
    TrainRow row;
    row.trained.assign(response, 1);
    for (const auto& [from, to] : chunk.forced) std::fill(row.trained.begin() + from, row.trained.begin() + to, 0);
    const auto sampled = std::count(row.trained.begin(), row.trained.end(), 1);
    if (sampled == 0) continue;
    trained += sampled;
    row.behavior_logprobs.resize(response);
    for (size_t i = 0; i < response; ++i) {
      row.behavior_logprobs[i] = row.trained[i] ? chunk.draws[i].sampling_logprob : kNoLogprob;
      if (row.trained[i] && std::isnan(row.behavior_logprobs[i])) {
        return Error{"a sampled token has no log-prob", "chunk " + std::to_string(c) + " of the trace",
                     "sample with sampling_logprobs"};
      }
    }
    row.prompt_tokens = static_cast<int64_t>(chunk.prompt_ids.size());
    row.ids = std::move(chunk.prompt_ids);
    row.ids.insert(row.ids.end(), chunk.token_ids.begin(), chunk.token_ids.end());
    row.evictions = std::move(result.kv[c].records);
    row.trace = trace;
    row.weight_version = chunk.weight_version;
    rows.push_back(std::move(row));
  }
  for (TrainRow& row : rows) row.trace_tokens = trained;
  return rows;
}

Status check_trainable(const SamplingOptions& options, const std::string& where) {
  const auto refuse = [&](const std::string& field, const std::string& remedy) -> Status {
    return Error{"training needs the log-probs of the distribution drawn from, which " + field + " changes",
                 where + ": " + field, remedy};
  };
  if (options.greedy()) return refuse("temperature 0", "use a temperature above 0");
  if (options.top_p < 1) return refuse("top_p", "use 1");
  if (options.top_k > 0) return refuse("top_k", "use 0");
  if (options.min_p > 0) return refuse("min_p", "use 0");
  if (options.repetition_penalty != 1) return refuse("repetition_penalty", "use 1");
  if (options.presence_penalty != 0) return refuse("presence_penalty", "use 0");
  if (options.frequency_penalty != 0) return refuse("frequency_penalty", "use 0");
  if (!options.logit_bias.empty()) return refuse("logit_bias", "leave it out");
  if (options.min_tokens > 0) return refuse("min_tokens", "use 0");
  return {};
}

}  // namespace throughline

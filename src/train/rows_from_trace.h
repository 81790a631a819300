// From a finished sample to training rows: one row a chunk (train/row.h).
//
// Ids are the chunk's prompt and response, as sampled; forced ids get trained = 0; behaviour log-probs are those of the
// distribution drawn from (SamplingOptions::sampling_logprobs must have been on). The chunk's last id was never fed
// when it was sampled, so no record comes after it. Chunks with nothing sampled give no row: they have no loss.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "train/row.h"

namespace throughline {

// Takes the result's ids and records. `trace` numbers the trace in its optimizer step; the advantage is set later.
// Errors: a sampled token without its log-prob.
Result<std::vector<TrainRow>> rows_from_trace(SampleResult&& result, int64_t trace);

// Whether what these options draw from is softmax(logits / temperature) over the whole vocabulary, which is what the
// trainer computes again: no temperature 0, top-p, top-k, min-p, penalties, biases nor min_tokens.
Status check_trainable(const SamplingOptions& options, const std::string& where);

}  // namespace throughline

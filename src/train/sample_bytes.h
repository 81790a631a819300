// A sampled trace as bytes, for handing it to the other processes of a run: every process then goes on with all traces.
//
// Holds what training, grading and traces.jsonl read: the trace but for top log-probs, and the KV events. Not a file
// format: both sides are the same binary. Still checked: cut or foreign bytes are an Error. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "engine/request.h"

namespace throughline {

std::string pack_sample(const SampleResult& sample);
Result<SampleResult> unpack_sample(std::string_view bytes);

}  // namespace throughline

// One line of `generate`'s output: what a finished request became. The contract is docs/generate.md.
#pragma once

#include <vector>

#include "base/json.h"
#include "engine/request.h"
#include "text/tokenizer.h"

namespace throughline {

struct OutputContext {
  const Tokenizer* tokenizer = nullptr;    // null: text fields are null
  const EvictionPolicy* policy = nullptr;  // null: full
  const SamplingOptions* sampling = nullptr;
  bool trace_kv = false;  // with kv.events, for which the next two are needed
  int64_t layers = 0, kv_heads = 0;
};

// Everything but the id.
Json output_of(const SampleResult& result, const OutputContext& context);

// What each event kept, from what each took: {"chunk","decoded","layer","head","kept"}; head null where the set is per
// layer. REQUIRES: context.policy.
Json kv_events(const SampleResult& result, const OutputContext& context);

}  // namespace throughline

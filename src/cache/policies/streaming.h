// StreamingLLM (arXiv 2309.17453): the first `sinks` tokens and the newest stay.
//
// rotate=true_position keeps every key's rotation, as many ports do; rotate=cache is the published form: keys lie
// unrotated and are rotated by their place in the cache at each read (slow and plain here; takes no prefix hits).
#pragma once

#include "cache/policy.h"

namespace throughline {

SpecInfo streaming_info();
Result<std::unique_ptr<const EvictionPolicy>> make_streaming(const Spec& spec, const std::string& where);

}  // namespace throughline

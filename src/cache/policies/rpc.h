// Reasoning Path Compression (arXiv 2505.13866, section 3; code: jiwonsong-dev/ReasoningPathCompression).
//
// Every `interval` sampled tokens the last `window` queries vote on all earlier unprotected tokens; floor(interval /
// ratio) more of them stay after each event, so the cache grows with slope 1/ratio. mode=reference reproduces the
// published code's selector rows and zero padding (its bf16 sums excepted: scores are fp32), mode=fixed repairs them.
#pragma once

#include "cache/policy.h"

namespace throughline {

SpecInfo rpc_info();
Result<std::unique_ptr<const EvictionPolicy>> make_rpc(const Spec& spec, const std::string& where);

}  // namespace throughline

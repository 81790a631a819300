// R-KV (arXiv 2505.24133): importance (as snapkv form 1) minus redundancy (similarity to other cached keys).
//
// Deviations from the published code, as shared/POLICIES.md decides: the prompt is protected by default, tokens are in
// position order, and a row without a similar key spares nothing (the code spares token 0 by accident).
// Cost of an event: quadratic in the cached tokens, per layer and head.
#pragma once

#include "cache/policy.h"

namespace throughline {

SpecInfo rkv_info();
Result<std::unique_ptr<const EvictionPolicy>> make_rkv(const Spec& spec, const std::string& where);

}  // namespace throughline

// SnapKV at decode time, in the two forms that are published (SnapKV: arXiv 2404.14469).
//
// form=1: the R-KV repository's and TriAttention's baseline (8 queries, the group's largest logit, max pool).
// form=2: the baseline of the VaSE and Random Attention tables (64 queries, softmax per query head, average pool).
// Defaults of interval, window and kernel follow the form.
#pragma once

#include "cache/policy.h"

namespace throughline {

// Importance of form 1, also R-KV's: fp32 [kv_heads, candidates].
at::Tensor snapkv_importance(const ScoreInputs& in, int64_t kernel);

SpecInfo snapkv_info();
Result<std::unique_ptr<const EvictionPolicy>> make_snapkv(const Spec& spec, const std::string& where);

}  // namespace throughline

// A null model: the newest tokens within the budget stay (a sliding window behind the protected tokens).
#pragma once

#include "cache/policy.h"

namespace throughline {

SpecInfo recency_info();
Result<std::unique_ptr<const EvictionPolicy>> make_recency(const Spec& spec, const std::string& where);

}  // namespace throughline

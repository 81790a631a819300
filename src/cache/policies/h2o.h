// H2O, heavy hitters (arXiv 2306.14048): tokens that have received most attention so far stay, and the `recent` newest.
//
// Sums are over the query heads of a group and over all queries, the prefill's included, and travel with their token.
// Fires whenever the cache is larger than the budget. Takes no prefix hits (it must see the prefill).
#pragma once

#include "cache/policy.h"

namespace throughline {

SpecInfo h2o_info();
Result<std::unique_ptr<const EvictionPolicy>> make_h2o(const Spec& spec, const std::string& where);

}  // namespace throughline

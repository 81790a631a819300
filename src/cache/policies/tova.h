// TOVA (arXiv 2401.06104): whenever the cache is larger than the budget, the tokens that the current query attends to
// least go, on the mean over all query heads of a layer. Nothing else is kept: the newest token may go.
#pragma once

#include "cache/policy.h"

namespace throughline {

SpecInfo tova_info();
Result<std::unique_ptr<const EvictionPolicy>> make_tova(const Spec& spec, const std::string& where);

}  // namespace throughline

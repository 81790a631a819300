// A null model: at each event a fresh uniform draw decides (Random Attention, arXiv 2609.03430, mode random_pp; there
// the prompt counts inside the budget as here).
//
// Draws are keyed by (seed, sample, tokens generated, purpose) and (event, layer, head, position): counter-based, so a
// sequence loses the same tokens alone, in a batch and when replayed. shared=true: one set for all heads of a layer.
#pragma once

#include "cache/policy.h"

namespace throughline {

SpecInfo random_info();
Result<std::unique_ptr<const EvictionPolicy>> make_random(const Spec& spec, const std::string& where);

}  // namespace throughline

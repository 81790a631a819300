// How fast each pair of dimensions turns, from the config's rope_theta and rope_scaling: default, linear, dynamic (at
// lengths up to the original, where it equals default), llama3, yarn. Arithmetic in fp32 in the order of transformers'
// modeling_rope_utils.py, so that angles agree to the last bits.
// Sources: RoFormer (arXiv 2104.09864); YaRN (arXiv 2309.00071), section 3; the Llama 3.1 release for llama3.
#pragma once

#include "model/config.h"
#include "ops/rope.h"

namespace throughline {

ops::RopeFrequencies rope_frequencies(const ModelConfig& config);

}  // namespace throughline

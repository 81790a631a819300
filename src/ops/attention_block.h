// How many slots attention reduces at once (ops/paged_attention.h). Apart, because kernels without torch need it.
#pragma once

#include <cstdint>

namespace throughline::ops {

constexpr int64_t kAttentionBlockSlots = 512;

}  // namespace throughline::ops

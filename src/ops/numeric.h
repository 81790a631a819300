// How a result may depend on its company.
//
// kFast: the quickest kernel; batch size and neighbours may change rounding.
// kExact: every output row is a function of its own inputs alone, bit for bit: not of batch size, neighbours, slicing
// of the prefill or thread count (DESIGN 4.4). Kernels that are row-exact by construction ignore the mode.
#pragma once

namespace throughline::ops {

enum class NumericMode { kFast, kExact };

}  // namespace throughline::ops

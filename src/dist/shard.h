// ZeRO-1 (Rajbhandari et al., arXiv 1910.02054): every process holds all values and all gradients of one flat vector
// [n] but updates only its own range, so optimizer states are split.
//
// Ranges: blocks of `align` elements, even over the ranks; where they do not divide, the ranges of some ranks are one
// block longer, and with fewer blocks than ranks some are empty. Every range but the last ends on a block.
// Collectives run in slices of bounded size, so they need no padded copy of the vector. All ranks call in the same
// order.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "base/result.h"
#include "dist/process_group.h"

namespace throughline {

struct ShardRange {
  int64_t begin = 0, end = 0;  // elements
  int64_t size() const { return end - begin; }
};

ShardRange shard_range(int64_t elements, int64_t align, int rank, int world);

constexpr int64_t kSliceElements = int64_t{1} << 20;  // of one rank in one collective; 4 MiB of fp32

// flat [n]: this rank's range becomes the sum over ranks; what lies outside is left as it was.
Status reduce_scatter_ranges(ProcessGroup& group, at::Tensor flat, int64_t align,
                             int64_t slice_elements = kSliceElements);
// flat [n]: every rank's range as that rank has it. Any dtype; bit for bit.
Status all_gather_ranges(ProcessGroup& group, at::Tensor flat, int64_t align, int64_t slice_elements = kSliceElements);

}  // namespace throughline

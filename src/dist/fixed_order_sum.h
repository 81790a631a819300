// Sums that have the same bits on any number of processes, for training under --exact.
//
// Floating addition is not associative, so a sum over all training rows has the same bits on 1 and on N processes only
// if its order is the same. The order here is that of a fixed binary tree whose leaves do not know of processes:
//   1. A step's traces are split over L "virtual shards" (split_evenly; L is an option of the run, not its world size),
//   a
//      trace with all its rows to one shard, by token counts alone.
//   2. The gradient of a shard is a leaf: its micro-batches, packed within the shard, are added one after the other
//   into
//      a cleared buffer. Whoever computes it gets the same bits (exact kernels do not depend on threads).
//   3. Leaves are summed in the tree: node (level, i) covers leaves [i << level, (i + 1) << level) and is
//      left + right; a child without leaves is skipped.
// Rank r of N computes leaves [r L / N, (r + 1) L / N), adds up what lies within its part of the tree (add()), and
// finish() gathers the at most 2 log2 L partial nodes of every rank and adds up the rest, the same on each. One process
// goes through the same tree. Cost beside a plain sum: up to log2 L + 1 more buffers [n], and an all-gather in place of
// a reduce-scatter. Metrics are summed the same way, as fp64 leaves. N may be any number up to L; more ranks idle.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "dist/process_group.h"

namespace throughline {

// Which leaves a rank computes: [begin, end).
struct LeafRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};
LeafRange leaf_range(int64_t leaves, int rank, int world);

// Items over parts so that the parts' sizes come out alike: largest first, each to the part that has least (ties: lower
// index). Returns the items of each part, ascending. A function of the sizes alone.
std::vector<std::vector<int64_t>> split_evenly(std::span<const int64_t> sizes, int64_t parts);

struct TreePlace {
  int level = 0;
  int64_t index = 0;
};

class FixedOrderSum {
 public:
  // Of `leaves` tensors of `elements` numbers (fp32 or fp64). The leaves of this rank are leaf_range's.
  FixedOrderSum(int64_t leaves, int64_t elements, at::ScalarType dtype, int rank, int world);

  // The next of this rank's leaves, in ascending order; it is copied or added, not kept. A shard without rows is zeros.
  void add(const at::Tensor& leaf);

  // total [elements] = the sum over all leaves of all ranks, on every rank. REQUIRES: all own leaves were added. The
  // object is then ready for the next sum.
  Status finish(ProcessGroup& group, at::Tensor total);

 private:
  struct Node {
    TreePlace at;
    at::Tensor values;
  };
  void raise();  // the last node has its right child
  Status finish_together(ProcessGroup& group, at::Tensor total);

  int64_t leaves_, elements_;
  LeafRange own_;
  int64_t next_;
  at::ScalarType dtype_;
  std::vector<Node> stack_;  // left to right
  std::vector<at::Tensor> free_;
};

}  // namespace throughline

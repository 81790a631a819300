#include "dist/shard.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace throughline {

ShardRange shard_range(int64_t elements, int64_t align, int rank, int world) {
  TL_CHECK(elements >= 0 && align >= 1 && rank >= 0 && rank < world, "shard_range: bad arguments");
  const int64_t blocks = (elements + align - 1) / align;
  const auto edge = [&](int64_t r) { return std::min(elements, blocks * r / world * align); };
  return {edge(rank), edge(rank + 1)};
}

namespace {

int64_t longest_range(int64_t elements, int64_t align, int world) {
  int64_t longest = 0;
  for (int r = 0; r < world; ++r) longest = std::max(longest, shard_range(elements, align, r, world).size());
  return longest;
}

// Elements [offset, offset + width) of a range, as far as it reaches.
at::Tensor slice_of(const at::Tensor& flat, ShardRange range, int64_t offset, int64_t width) {
  const int64_t from = std::min(range.begin + offset, range.end);
  return flat.narrow(0, from, std::min(width, range.end - from));
}

}  // namespace

Status reduce_scatter_ranges(ProcessGroup& group, at::Tensor flat, int64_t align, int64_t slice_elements) {
  if (group.world() == 1) return {};
  const at::NoGradGuard guard;
  const int64_t n = flat.numel(), longest = longest_range(n, align, group.world());
  const int64_t width = std::min(slice_elements, longest);
  const at::Tensor parts = at::zeros({group.world() * width}, flat.options());
  const at::Tensor sum = at::empty({width}, flat.options());
  const ShardRange own = shard_range(n, align, group.rank(), group.world());
  for (int64_t offset = 0; offset < longest; offset += width) {
    for (int r = 0; r < group.world(); ++r) {
      const at::Tensor part = slice_of(flat, shard_range(n, align, r, group.world()), offset, width);
      parts.narrow(0, r * width, part.numel()).copy_(part);
    }
    TL_TRY_STATUS(group.reduce_scatter(sum, parts));
    const at::Tensor target = slice_of(flat, own, offset, width);
    target.copy_(sum.narrow(0, 0, target.numel()));
  }
  return {};
}

Status all_gather_ranges(ProcessGroup& group, at::Tensor flat, int64_t align, int64_t slice_elements) {
  if (group.world() == 1) return {};
  const at::NoGradGuard guard;
  const int64_t n = flat.numel(), longest = longest_range(n, align, group.world());
  const int64_t width = std::min(slice_elements, longest);
  const at::Tensor all = at::empty({group.world() * width}, flat.options());
  const at::Tensor mine = at::zeros({width}, flat.options());
  const ShardRange own = shard_range(n, align, group.rank(), group.world());
  for (int64_t offset = 0; offset < longest; offset += width) {
    const at::Tensor part = slice_of(flat, own, offset, width);
    mine.narrow(0, 0, part.numel()).copy_(part);
    TL_TRY_STATUS(group.all_gather(all, mine));
    for (int r = 0; r < group.world(); ++r) {
      if (r == group.rank()) continue;
      const at::Tensor target = slice_of(flat, shard_range(n, align, r, group.world()), offset, width);
      target.copy_(all.narrow(0, r * width, target.numel()));
    }
  }
  return {};
}

}  // namespace throughline

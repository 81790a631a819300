#include "dist/fixed_order_sum.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

namespace throughline {
namespace {

constexpr int64_t kBucketElements = int64_t{1} << 20;  // of one node in one collective

// A node whose right sibling covers no leaf stands for its parent too.
TreePlace promoted(TreePlace at, int64_t leaves) {
  while ((int64_t{1} << at.level) < leaves && at.index % 2 == 0 && ((at.index + 1) << at.level) >= leaves) {
    at = {at.level + 1, at.index / 2};
  }
  return at;
}

bool are_siblings(TreePlace left, TreePlace right) {
  return left.level == right.level && left.index % 2 == 0 && left.index + 1 == right.index;
}

// The nodes that a rank is left with once its leaves are added up as far as they reach.
std::vector<TreePlace> nodes_of(int64_t leaves, int rank, int world) {
  std::vector<TreePlace> stack;
  const LeafRange own = leaf_range(leaves, rank, world);
  for (int64_t leaf = own.begin; leaf < own.end; ++leaf) {
    stack.push_back(promoted({0, leaf}, leaves));
    while (stack.size() >= 2 && are_siblings(stack[stack.size() - 2], stack.back())) {
      stack.pop_back();
      stack.back() = promoted({stack.back().level + 1, stack.back().index / 2}, leaves);
    }
  }
  return stack;
}

}  // namespace

LeafRange leaf_range(int64_t leaves, int rank, int world) {
  TL_CHECK(leaves >= 0 && rank >= 0 && rank < world, "leaf_range: bad arguments");
  return {leaves * rank / world, leaves * (rank + 1) / world};
}

std::vector<std::vector<int64_t>> split_evenly(std::span<const int64_t> sizes, int64_t parts) {
  TL_CHECK(parts >= 1, "split_evenly: at least one part");
  std::vector<int64_t> order(sizes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return sizes[a] > sizes[b]; });
  std::vector<std::vector<int64_t>> items(parts);
  std::vector<int64_t> load(parts);
  for (const int64_t item : order) {
    const auto least = std::min_element(load.begin(), load.end()) - load.begin();
    load[least] += sizes[item];
    items[least].push_back(item);
  }
  for (auto& part : items) std::sort(part.begin(), part.end());
  return items;
}

FixedOrderSum::FixedOrderSum(int64_t leaves, int64_t elements, at::ScalarType dtype, int rank, int world)
    : leaves_(leaves), elements_(elements), own_(leaf_range(leaves, rank, world)), next_(own_.begin), dtype_(dtype) {
  TL_CHECK(leaves >= 1 && (dtype == at::kFloat || dtype == at::kDouble),
           "FixedOrderSum: fp32 or fp64, at least one leaf");
}

void FixedOrderSum::add(const at::Tensor& leaf) {
  TL_CHECK(next_ < own_.end, "FixedOrderSum: more leaves than this rank has");
  TL_CHECK(leaf.numel() == elements_ && leaf.scalar_type() == dtype_, "FixedOrderSum: a leaf of another size or dtype");
  const at::NoGradGuard guard;
  const TreePlace at = promoted({0, next_++}, leaves_);
  if (stack_.empty() || !are_siblings(stack_.back().at, at)) {
    at::Tensor buffer;
    if (free_.empty()) {
      buffer = at::empty({elements_}, at::TensorOptions().dtype(dtype_));
    } else {
      buffer = std::move(free_.back());
      free_.pop_back();
    }
    buffer.copy_(leaf.view({-1}));
    stack_.push_back({at, std::move(buffer)});
    return;
  }
  stack_.back().values.add_(leaf.view({-1}));
  raise();
  while (stack_.size() >= 2 && are_siblings(stack_[stack_.size() - 2].at, stack_.back().at)) {
    at::Tensor right = std::move(stack_.back().values);
    stack_.pop_back();
    stack_.back().values.add_(right);
    free_.push_back(std::move(right));
    raise();
  }
}

void FixedOrderSum::raise() {
  TreePlace& at = stack_.back().at;
  at = promoted({at.level + 1, at.index / 2}, leaves_);
}

Status FixedOrderSum::finish(ProcessGroup& group, at::Tensor total) {
  TL_CHECK(next_ == own_.end, "FixedOrderSum: a leaf of this rank is missing");
  TL_CHECK(total.numel() == elements_ && total.scalar_type() == dtype_,
           "FixedOrderSum: total of another size or dtype");
  const at::NoGradGuard guard;
  next_ = own_.begin;
  if (group.world() == 1) {
    total.view({-1}).copy_(stack_.front().values);
  } else {
    TL_TRY_STATUS(finish_together(group, total.view({-1})));
  }
  for (Node& node : stack_) free_.push_back(std::move(node.values));
  stack_.clear();
  return {};
}

Status FixedOrderSum::finish_together(ProcessGroup& group, at::Tensor total) {
  std::vector<std::vector<TreePlace>> places;
  size_t most = 0;
  for (int r = 0; r < group.world(); ++r) {
    places.push_back(nodes_of(leaves_, r, group.world()));
    most = std::max(most, places.back().size());
  }
  const auto slots = static_cast<int64_t>(most);
  const int64_t width = std::min(kBucketElements, elements_);
  const auto options = at::TensorOptions().dtype(dtype_);
  const at::Tensor mine = at::zeros({slots, width}, options);
  const at::Tensor all = at::empty({group.world(), slots, width}, options);
  for (int64_t offset = 0; offset < elements_; offset += width) {
    const int64_t length = std::min(width, elements_ - offset);
    for (size_t slot = 0; slot < stack_.size(); ++slot) {
      mine[slot].narrow(0, 0, length).copy_(stack_[slot].values.narrow(0, offset, length));
    }
    TL_TRY_STATUS(group.all_gather(all, mine));
    std::vector<Node> nodes;
    for (int r = 0; r < group.world(); ++r) {
      for (size_t slot = 0; slot < places[r].size(); ++slot) {
        nodes.push_back({places[r][slot], all[r][slot].narrow(0, 0, length)});
        while (nodes.size() >= 2 && are_siblings(nodes[nodes.size() - 2].at, nodes.back().at)) {
          const at::Tensor right = nodes.back().values;
          nodes.pop_back();
          Node& left = nodes.back();
          left.values.add_(right);
          left.at = promoted({left.at.level + 1, left.at.index / 2}, leaves_);
        }
      }
    }
    TL_CHECK(nodes.size() == 1, "FixedOrderSum: the tree did not close");
    total.narrow(0, offset, length).copy_(nodes.front().values);
  }
  return {};
}

}  // namespace throughline

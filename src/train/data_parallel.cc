#include "train/data_parallel.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <map>

#include "train/packing.h"

namespace throughline {
namespace {

constexpr int64_t kSums = 11;  // of TokenSums, without the maximum

std::vector<double*> fields(TokenSums& sums) {
  return {&sums.loss,       &sums.entropy,        &sums.gap,        &sums.clipped, &sums.correction,   &sums.kl,
          &sums.gap_tokens, &sums.trained_tokens, &sums.fed_tokens, &sums.rows,    &sums.micro_batches};
}

at::Tensor tensor_of(TokenSums sums) {
  at::Tensor out = at::zeros({kSums}, at::kDouble);
  double* to = out.mutable_data_ptr<double>();
  for (const double* field : fields(sums)) *to++ = *field;
  return out;
}

void assign(TokenSums& sums, const at::Tensor& from) {
  const double* value = from.const_data_ptr<double>();
  for (double* field : fields(sums)) *field = *value++;
}

Status reduce_maximum(ProcessGroup& group, double& value) {
  at::Tensor shared = at::tensor({value}, at::kDouble);
  TL_TRY_STATUS(group.all_reduce(shared, Reduce::kMax));
  value = shared.item<double>();
  return {};
}

}  // namespace

std::vector<std::vector<int64_t>> split_rows(std::span<const TrainRow> rows, int64_t shares) {
  std::map<int64_t, size_t> place;  // trace -> its number in order of appearance
  std::vector<std::vector<int64_t>> rows_of;
  std::vector<int64_t> tokens;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto [found, is_new] = place.try_emplace(rows[i].trace, rows_of.size());
    if (is_new) {
      rows_of.emplace_back();
      tokens.push_back(0);
    }
    rows_of[found->second].push_back(static_cast<int64_t>(i));
    tokens[found->second] += rows[i].tokens();
  }
  std::vector<std::vector<int64_t>> out;
  for (const auto& traces : split_evenly(tokens, shares)) {
    std::vector<int64_t>& share = out.emplace_back();
    for (const int64_t trace : traces) share.insert(share.end(), rows_of[trace].begin(), rows_of[trace].end());
    std::sort(share.begin(), share.end());
  }
  return out;
}

DataParallel::DataParallel(ProcessGroup* group, bool exact, int64_t batch_tokens)
    : group_(group), exact_(exact), batch_tokens_(batch_tokens), shares_(exact ? kExactShares : group->world()) {}

ShardRange DataParallel::own_range(const Trainable& trainable) const {
  return shard_range(trainable.size(), Trainable::kShardAlign, group_->rank(), group_->world());
}

std::vector<std::vector<MicroBatch>> DataParallel::own_batches(std::span<const TrainRow> rows) const {
  const auto shares = split_rows(rows, shares_);
  const LeafRange own = leaf_range(shares_, group_->rank(), group_->world());
  std::vector<std::vector<MicroBatch>> out;
  for (int64_t share = own.begin; share < own.end; ++share) {
    std::vector<int64_t> tokens;
    for (const int64_t row : shares[share]) tokens.push_back(rows[row].tokens() - 1);  // the last id is never fed
    std::vector<MicroBatch>& batches = out.emplace_back();
    for (const auto& packed : pack_rows(tokens, batch_tokens_)) {
      MicroBatch& batch = batches.emplace_back();
      for (const int64_t index : packed) batch.push_back(&rows[shares[share][index]]);
    }
  }
  return out;
}

Result<std::vector<double>> DataParallel::sum(std::span<const TrainRow> rows, int64_t numbers,
                                              const AddNumbers& add) const {
  FixedOrderSum exact_sum(shares_, numbers, at::kDouble, group_->rank(), group_->world());
  at::Tensor total = at::zeros({numbers}, at::kDouble);
  for (const auto& share : own_batches(rows)) {
    const at::Tensor of_share = at::zeros({numbers}, at::kDouble);
    for (const MicroBatch& batch : share) add(batch, of_share.mutable_data_ptr<double>());
    if (exact_) {
      exact_sum.add(of_share);
    } else {
      total.add_(of_share);
    }
  }
  TL_TRY_STATUS(exact_ ? exact_sum.finish(*group_, total) : group_->all_reduce(total, Reduce::kSum));
  const double* sums = total.const_data_ptr<double>();
  return std::vector<double>(sums, sums + numbers);
}

Status DataParallel::sum_exactly(Updater& updater, const std::vector<std::vector<MicroBatch>>& batches,
                                 const StepTotals& totals, TokenSums& sums) {
  Trainable& trainable = updater.trainable();
  const at::Tensor gradients = trainable.gradients();
  if (!gradient_sum_) {
    gradient_sum_ =
        std::make_unique<FixedOrderSum>(shares_, gradients.numel(), at::kFloat, group_->rank(), group_->world());
  }
  FixedOrderSum metric_sum(shares_, kSums, at::kDouble, group_->rank(), group_->world());
  double gap_max = 0;
  for (const auto& share : batches) {
    for (const MicroBatch& batch : share) updater.accumulate(batch, totals);
    gradient_sum_->add(gradients);
    trainable.zero_gradients();
    const TokenSums of_share = updater.take_sums();
    metric_sum.add(tensor_of(of_share));
    gap_max = std::max(gap_max, of_share.gap_max);
  }
  TL_TRY_STATUS(gradient_sum_->finish(*group_, gradients));
  at::Tensor shared = at::zeros({kSums}, at::kDouble);
  TL_TRY_STATUS(metric_sum.finish(*group_, shared));
  assign(sums, shared);
  sums.gap_max = gap_max;
  return {};
}

Status DataParallel::sum_plainly(Updater& updater, const std::vector<std::vector<MicroBatch>>& batches,
                                 const StepTotals& totals, TokenSums& sums) {
  for (const auto& share : batches) {
    for (const MicroBatch& batch : share) updater.accumulate(batch, totals);
  }
  TL_TRY_STATUS(reduce_scatter_ranges(*group_, updater.trainable().gradients(), Trainable::kShardAlign));
  sums = updater.take_sums();
  at::Tensor shared = tensor_of(sums);
  TL_TRY_STATUS(group_->all_reduce(shared, Reduce::kSum));
  assign(sums, shared);
  return {};
}

// Block sums of the own range, gathered and added up in the order of blocks: not a function of the ranges.
Result<double> DataParallel::gradient_norm(const Trainable& trainable) {
  const ShardRange own = own_range(trainable);
  const int64_t blocks = (trainable.size() + Trainable::kShardAlign - 1) / Trainable::kShardAlign;
  at::Tensor all = at::zeros({blocks}, at::kDouble);
  const auto mine = block_square_sums(trainable.gradients().narrow(0, own.begin, own.size()));
  std::copy(mine.begin(), mine.end(), all.mutable_data_ptr<double>() + own.begin / Trainable::kShardAlign);
  TL_TRY_STATUS(all_gather_ranges(*group_, all, 1));
  const double* sums = all.const_data_ptr<double>();
  return norm_of_blocks(std::vector<double>(sums, sums + blocks));
}

Result<UpdateStats> DataParallel::update(Updater& updater, std::span<const TrainRow> rows, const StepTotals& totals,
                                         double learning_rate) {
  Trainable& trainable = updater.trainable();
  TokenSums sums;
  const auto batches = own_batches(rows);
  TL_TRY_STATUS(exact_ ? sum_exactly(updater, batches, totals, sums) : sum_plainly(updater, batches, totals, sums));
  TL_TRY_STATUS(reduce_maximum(*group_, sums.gap_max));
  TL_TRY(const double norm, gradient_norm(trainable));
  UpdateStats stats = updater.step(learning_rate, norm, sums);
  if (stats.skipped) return stats;
  double broken = stats.weights_finite ? 0 : 1;
  TL_TRY_STATUS(reduce_maximum(*group_, broken));
  stats.weights_finite = broken == 0;
  TL_TRY_STATUS(all_gather_ranges(*group_, trainable.values(), Trainable::kShardAlign));
  trainable.published();
  return stats;
}

}  // namespace throughline

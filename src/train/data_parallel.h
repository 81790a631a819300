// One optimizer step over several processes that all hold the same rows, weights and settings.
//
// Rows are split over shares by token count, the rows of a trace together (split_rows); a process runs the forward and
// backward passes of its shares alone, then gradients are summed, each process updates its own range of the values
// (ZeRO-1) and all gather the result. Nothing about a row depends on the process that handles it.
// Plain: one share a process, sums in c10d's order: N processes agree with 1 up to rounding. Exact: kExactShares shares
// whatever the number of processes, summed in a fixed tree (dist/fixed_order_sum.h): N processes have 1's bits, metrics
// included. One process needs no special care: its group's calls return at once.
// Errors are those of the group (a lost rank). Not thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "dist/fixed_order_sum.h"
#include "dist/process_group.h"
#include "dist/shard.h"
#include "train/update.h"

namespace throughline {

// Of every exact run; more processes than this sample in parallel but do not update faster.
constexpr int64_t kExactShares = 8;

// Indices of the rows of each share, ascending. A function of the rows' traces and lengths alone.
std::vector<std::vector<int64_t>> split_rows(std::span<const TrainRow> rows, int64_t shares);

using MicroBatch = std::vector<const TrainRow*>;

class DataParallel {
 public:
  // `group` must outlive this. `batch_tokens`: of a micro-batch.
  DataParallel(ProcessGroup* group, bool exact, int64_t batch_tokens);

  ProcessGroup& group() const { return *group_; }
  int64_t shares() const { return shares_; }

  // This process's range of a trainable's values, for Updater.
  ShardRange own_range(const Trainable& trainable) const;

  // The micro-batches of this process, a list for each of its shares (of which some may be empty).
  std::vector<std::vector<MicroBatch>> own_batches(std::span<const TrainRow> rows) const;

  // Numbers summed over all micro-batches of all processes: `add` adds one micro-batch's. Exact runs: 1 process's bits.
  using AddNumbers = std::function<void(const MicroBatch& batch, double* sums)>;
  Result<std::vector<double>> sum(std::span<const TrainRow> rows, int64_t numbers, const AddNumbers& add) const;

  // accumulate() over the own micro-batches, sums, norm, update, gather. `rows` and `totals` are those of the whole
  // optimizer step, the same in every process.
  Result<UpdateStats> update(Updater& updater, std::span<const TrainRow> rows, const StepTotals& totals,
                             double learning_rate);

 private:
  Status sum_exactly(Updater& updater, const std::vector<std::vector<MicroBatch>>& batches, const StepTotals& totals,
                     TokenSums& sums);
  Status sum_plainly(Updater& updater, const std::vector<std::vector<MicroBatch>>& batches, const StepTotals& totals,
                     TokenSums& sums);
  Result<double> gradient_norm(const Trainable& trainable);

  ProcessGroup* group_;
  bool exact_;
  int64_t batch_tokens_, shares_;
  std::unique_ptr<FixedOrderSum> gradient_sum_;  // kept: its buffers are as large as the gradients
};

}  // namespace throughline

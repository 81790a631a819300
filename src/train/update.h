// The one place where weights change: rows in, gradients summed over micro-batches, one optimizer step out.
//
//   updater.accumulate(rows, totals);  // once for each micro-batch (pack_rows) of the optimizer step
//   UpdateStats stats = updater.apply(learning_rate);
//
// Rows are packed without padding; the last id of a row is never fed (nothing is predicted from it). The log-probs of
// the old policy are those in TrainRow::old_logprobs, or the sampler's own where that is empty. Not thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cache/attention_context.h"
#include "model/decoder.h"
#include "ops/numeric.h"
#include "train/aggregation.h"
#include "train/optimizer.h"
#include "train/row.h"
#include "train/token_loss.h"
#include "train/trainable.h"

namespace throughline {

struct UpdateOptions {
  TokenLossOptions loss;
  AggregationOptions aggregation;
  AdamWOptions optimizer;
  double temperature = 1;  // of the distribution that was sampled from
  ops::NumericMode mode = ops::NumericMode::kFast;
  // One optimizer step a rollout: the old policy is the present one, whatever the rows hold. Saves a forward pass.
  bool old_is_present = false;
  bool checkpoint_layers = true;  // keep only each layer's input; the backward pass computes the rest again
};

// Sums over the tokens of an optimizer step so far; those of micro-batches and of processes add up.
struct TokenSums {
  double loss = 0, entropy = 0, gap = 0, clipped = 0, correction = 0, kl = 0;
  double gap_tokens = 0, trained_tokens = 0, fed_tokens = 0, rows = 0, micro_batches = 0;
  double gap_max = 0;  // of all, not a sum
};

// What one optimizer step did. Means are over its trained tokens.
struct UpdateStats {
  double loss = 0;  // the weighted sum that was minimised
  double entropy = 0;
  double gap_mean = 0, gap_max = 0;  // |sampler's log-prob - trainer's|; NaN for rows without sampler's log-probs
  double clip_fraction = 0;
  double correction_mean = 0;  // truncated importance weight
  double kl = 0;               // k3 against the reference
  double grad_norm = 0;        // before the clip
  double learning_rate = 0;
  int64_t gap_tokens = 0;      // of the gap: those of rows with gap_counts
  bool skipped = false;        // the norm was not finite: weights and optimizer are as they were
  bool weights_finite = true;  // after the step; Updater::step(): those of the own range
  int64_t trained_tokens = 0, fed_tokens = 0, rows = 0, micro_batches = 0;
};

// The attention of one packed micro-batch: rows[i] is fed its first tokens() - 1 ids, one row after the other.
using AttentionFactory =
    std::function<std::unique_ptr<AttentionContext>(const Decoder& decoder, std::span<const TrainRow* const> rows)>;
// Plain causal attention through model/dense_attention (memory tokens^2 a row).
AttentionFactory dense_attention_factory();

// Log-probs of each row's response ids (NaN where not trained) under a decoder's present weights, without gradient.
// Rows of one call form one micro-batch.
std::vector<std::vector<float>> row_logprobs(const Decoder& decoder, std::span<const TrainRow* const> rows,
                                             const AttentionFactory& attention, double temperature,
                                             ops::NumericMode mode);

class Updater {
 public:
  // decoder and trainable must outlive this.
  Updater(const Decoder* decoder, Trainable* trainable, UpdateOptions options,
          AttentionFactory attention = dense_attention_factory());
  // Owns elements [begin, end) of the optimizer's state; see Optimizer.
  Updater(const Decoder* decoder, Trainable* trainable, UpdateOptions options, AttentionFactory attention,
          int64_t begin, int64_t end);

  // row_logprobs() of this decoder: for TrainRow::old_logprobs.
  std::vector<std::vector<float>> logprobs(std::span<const TrainRow* const> rows) const;

  // Forward and backward pass of one micro-batch. `totals` are those of the whole optimizer step.
  void accumulate(std::span<const TrainRow* const> rows, const StepTotals& totals);
  // Clips, updates, publishes, clears the gradients.
  UpdateStats apply(double learning_rate);

  // The parts of apply() for several processes (data_parallel.h). take_sums() begins anew; step() clips and updates the
  // own range with gradients and sums that are already those of all processes, and clears the gradients. The caller
  // gathers the values and calls published().
  TokenSums take_sums();
  UpdateStats step(double learning_rate, double gradient_norm, const TokenSums& sums);

  Optimizer& optimizer() { return optimizer_; }
  Trainable& trainable() { return *trainable_; }
  const UpdateOptions& options() const { return options_; }

 private:
  const Decoder* decoder_;
  Trainable* trainable_;
  UpdateOptions options_;
  AttentionFactory attention_;
  Optimizer optimizer_;
  TokenSums sums_;
};

}  // namespace throughline

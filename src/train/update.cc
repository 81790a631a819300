#include "train/update.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "model/dense_attention.h"
#include "ops/parallel.h"
#include "ops/token_logprobs.h"

namespace throughline {
namespace {

// One micro-batch laid end to end. Fed row t predicts the id at t + 1 of its training row.
struct Packed {
  std::vector<int64_t> ids;      // [fed]
  std::vector<int64_t> sources;  // [predictions] fed row that predicts
  std::vector<int64_t> targets;  // [predictions]
  struct Token {
    int64_t row, index;  // into the micro-batch, into the response
  };
  std::vector<Token> tokens;  // [predictions]
};

Packed pack(std::span<const TrainRow* const> rows) {
  Packed out;
  for (size_t r = 0; r < rows.size(); ++r) {
    const TrainRow& row = *rows[r];
    TL_CHECK(row.prompt_tokens >= 1 && static_cast<int64_t>(row.trained.size()) == row.response_tokens(),
             "update: a row's prompt and response do not add up");
    const auto first = static_cast<int64_t>(out.ids.size());
    for (int64_t i = 0; i + 1 < row.tokens(); ++i) out.ids.push_back(row.ids[static_cast<size_t>(i)]);
    for (int64_t i = 0; i < row.response_tokens(); ++i) {
      if (row.trained[static_cast<size_t>(i)] == 0) continue;
      out.sources.push_back(first + row.prompt_tokens + i - 1);
      out.targets.push_back(row.ids[static_cast<size_t>(row.prompt_tokens + i)]);
      out.tokens.push_back({static_cast<int64_t>(r), i});
    }
  }
  return out;
}

double log_prob_or_nan(const std::vector<float>& values, int64_t index) {
  return values.empty() ? std::numeric_limits<double>::quiet_NaN() : values[static_cast<size_t>(index)];
}

}  // namespace

AttentionFactory dense_attention_factory() {
  return [](const Decoder& decoder, std::span<const TrainRow* const> rows) -> std::unique_ptr<AttentionContext> {
    std::vector<int64_t> row_begin{0}, positions;
    for (const TrainRow* row : rows) {
      for (int64_t i = 0; i + 1 < row->tokens(); ++i) positions.push_back(i);
      row_begin.push_back(static_cast<int64_t>(positions.size()));
    }
    return std::make_unique<DenseAttention>(std::move(row_begin), positions, decoder.rope(), decoder.attention_scale());
  };
}

std::vector<std::vector<float>> row_logprobs(const Decoder& decoder, std::span<const TrainRow* const> rows,
                                             const AttentionFactory& attention_factory, double temperature,
                                             ops::NumericMode mode) {
  const at::NoGradGuard guard;
  const ops::LoopsOnOpenMp loops;
  std::vector<std::vector<float>> out;
  for (const TrainRow* row : rows) out.emplace_back(row->trained.size(), std::numeric_limits<float>::quiet_NaN());
  const Packed packed = pack(rows);
  if (packed.tokens.empty()) return out;
  const auto attention = attention_factory(decoder, rows);
  const at::Tensor hidden =
      decoder.forward(at::tensor(packed.ids), *attention, mode).index_select(0, at::tensor(packed.sources));
  const auto result = ops::token_logprobs(hidden, decoder.head(), at::tensor(packed.targets), temperature, mode);
  const auto* values = result.logprobs.const_data_ptr<float>();
  for (size_t i = 0; i < packed.tokens.size(); ++i) {
    out[static_cast<size_t>(packed.tokens[i].row)][static_cast<size_t>(packed.tokens[i].index)] = values[i];
  }
  return out;
}

Updater::Updater(const Decoder* decoder, Trainable* trainable, UpdateOptions options, AttentionFactory attention)
    : Updater(decoder, trainable, std::move(options), std::move(attention), 0, -1) {}

Updater::Updater(const Decoder* decoder, Trainable* trainable, UpdateOptions options, AttentionFactory attention,
                 int64_t begin, int64_t end)
    : decoder_(decoder),
      trainable_(trainable),
      options_(std::move(options)),
      attention_(std::move(attention)),
      optimizer_(trainable, options_.optimizer, begin, end) {}

std::vector<std::vector<float>> Updater::logprobs(std::span<const TrainRow* const> rows) const {
  return row_logprobs(*decoder_, rows, attention_, options_.temperature, options_.mode);
}

void Updater::accumulate(std::span<const TrainRow* const> rows, const StepTotals& totals) {
  const ops::LoopsOnOpenMp loops;
  const Packed packed = pack(rows);
  sums_.rows += static_cast<double>(rows.size());
  ++sums_.micro_batches;
  if (packed.tokens.empty()) return;
  sums_.fed_tokens += static_cast<double>(packed.ids.size());
  sums_.trained_tokens += static_cast<double>(packed.tokens.size());

  const auto attention = attention_(*decoder_, rows);
  const Decoder::ForwardOptions forward{.checkpoint_layers = options_.checkpoint_layers};
  const at::Tensor hidden = decoder_->forward(at::tensor(packed.ids), *attention, options_.mode, forward)
                                .index_select(0, at::tensor(packed.sources));
  const auto result =
      ops::token_logprobs(hidden, decoder_->head(), at::tensor(packed.targets), options_.temperature, options_.mode);
  const auto* logprobs = result.logprobs.const_data_ptr<float>();
  const auto* entropy = result.entropy.const_data_ptr<float>();

  std::vector<double> weights;  // of the tokens of each row
  for (const TrainRow* row : rows) {
    weights.push_back(trained_tokens(*row) > 0 ? token_weight(*row, totals, options_.aggregation) : 0);
  }
  std::vector<float> slopes(packed.tokens.size());
  for (size_t i = 0; i < packed.tokens.size(); ++i) {
    const auto [r, index] = packed.tokens[i];
    const TrainRow& row = *rows[static_cast<size_t>(r)];
    const double behavior = log_prob_or_nan(row.behavior_logprobs, index);
    const double old = log_prob_or_nan(row.old_logprobs, index);
    // Without a record of the old policy the present one stands for it: the plain policy gradient.
    const double from = options_.old_is_present          ? logprobs[i]
                        : !row.old_logprobs.empty()      ? old
                        : !row.behavior_logprobs.empty() ? behavior
                                                         : logprobs[i];
    const TokenLogprobSet set{.logprob = logprobs[i],
                              .old = from,
                              .behavior = row.behavior_logprobs.empty() ? from : behavior,
                              .reference = log_prob_or_nan(row.reference_logprobs, index)};
    const TokenLoss loss = token_loss(set, row.advantage, options_.loss);
    const double weight = weights[static_cast<size_t>(r)];
    slopes[i] = static_cast<float>(weight * loss.slope);
    sums_.loss += weight * loss.loss;
    sums_.entropy += entropy[i];
    sums_.clipped += loss.clipped;
    sums_.correction += loss.correction;
    sums_.kl += loss.kl;
    if (row.gap_counts && !std::isnan(behavior)) {
      const double gap = std::abs(behavior - (row.old_logprobs.empty() ? set.logprob : old));
      sums_.gap += gap;
      sums_.gap_max = std::max(sums_.gap_max, gap);
      ++sums_.gap_tokens;
    }
  }
  torch::autograd::backward({result.logprobs}, {at::tensor(slopes)});
}

TokenSums Updater::take_sums() { return std::exchange(sums_, TokenSums()); }

UpdateStats Updater::apply(double learning_rate) {
  const double norm = norm_of_blocks(block_square_sums(trainable_->gradients()));
  const UpdateStats stats = step(learning_rate, norm, take_sums());
  if (!stats.skipped) trainable_->published();
  return stats;
}

UpdateStats Updater::step(double learning_rate, double gradient_norm, const TokenSums& sums) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  const double tokens = std::max(1.0, sums.trained_tokens);
  UpdateStats stats;
  stats.loss = sums.loss;
  stats.entropy = sums.entropy / tokens;
  stats.gap_mean = sums.gap_tokens > 0 ? sums.gap / sums.gap_tokens : kUnknown;
  stats.gap_max = sums.gap_tokens > 0 ? sums.gap_max : kUnknown;
  stats.clip_fraction = sums.clipped / tokens;
  stats.correction_mean = sums.correction / tokens;
  stats.kl = sums.kl / tokens;
  stats.grad_norm = gradient_norm;
  stats.learning_rate = learning_rate;
  stats.gap_tokens = static_cast<int64_t>(sums.gap_tokens);
  stats.skipped = !std::isfinite(gradient_norm);
  stats.trained_tokens = static_cast<int64_t>(sums.trained_tokens);
  stats.fed_tokens = static_cast<int64_t>(sums.fed_tokens);
  stats.rows = static_cast<int64_t>(sums.rows);
  stats.micro_batches = static_cast<int64_t>(sums.micro_batches);
  if (!stats.skipped) {
    optimizer_.step(learning_rate, optimizer_.clip_scale(gradient_norm));
    stats.weights_finite = optimizer_.values_finite();
  }
  trainable_->zero_gradients();
  return stats;
}

}  // namespace throughline

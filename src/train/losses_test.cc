// Advantages, token losses, their aggregation, the head's log-probs and AdamW against a plain PyTorch statement of the
// same (tools/grpo_goldens.py wrote tests/golden/train/grpo.json).
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "ops/token_logprobs.h"
#include "train/advantage.h"
#include "train/aggregation.h"
#include "train/optimizer.h"
#include "train/packing.h"
#include "train/schedule.h"
#include "train/token_loss.h"

namespace throughline {
namespace {

const Json& golden() {
  static const Json json = read_json_file(THROUGHLINE_SOURCE_DIR "/tests/golden/train/grpo.json").value();
  return json;
}

using Numbers = std::vector<double>;

void expect_near(double got, double want, double tolerance, const std::string& what) {
  EXPECT_NEAR(got, want, tolerance * std::max(1.0, std::abs(want))) << what;
}

TEST(Advantage, EqualsPyTorch) {
  for (const Json& group : golden()["groups"]) {
    const auto rewards = group["rewards"].get<Numbers>();
    for (const auto& [name, kind] :
         {std::pair("group_norm", AdvantageKind::kGroupNorm), std::pair("group_mean", AdvantageKind::kGroupMean),
          std::pair("leave_one_out", AdvantageKind::kLeaveOneOut)}) {
      const auto want = group[name].get<Numbers>();
      const auto got = group_advantages(rewards, {.kind = kind});
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < want.size(); ++i) expect_near(got[i], want[i], 1e-6, name);
    }
  }
}

TEST(Advantage, EqualRewardsAreZeroVarianceToTheBit) {
  const std::vector<double> rewards(7, 0.1);  // whose sum is not 7 * 0.1
  const auto group = group_statistics(rewards);
  EXPECT_TRUE(group.zero_variance);
  EXPECT_EQ(group.deviation, 0);
  for (const float advantage : group_advantages(rewards, {})) EXPECT_EQ(advantage, 0);
  EXPECT_FALSE(group_statistics(std::vector<double>{0.1, 0.2}).zero_variance);
}

TEST(Advantage, OverlongPenaltyGrowsOverTheSoftTokens) {
  const OverlongOptions soft{.kind = OverlongKind::kPenalise, .soft_tokens = 100, .penalty = 0.5};
  EXPECT_EQ(overlong_reward(900, 1000, soft), 0);
  EXPECT_DOUBLE_EQ(overlong_reward(950, 1000, soft), -0.25);
  EXPECT_DOUBLE_EQ(overlong_reward(1000, 1000, soft), -0.5);
  EXPECT_EQ(overlong_reward(999, 1000, {.kind = OverlongKind::kPenalise}), 0);
  EXPECT_EQ(overlong_reward(1000, 1000, {.kind = OverlongKind::kPenalise}), -1);
  EXPECT_EQ(overlong_reward(1000, 1000, {.kind = OverlongKind::kMask}), 0);
}

struct Case {
  TokenLossOptions loss;
  AggregationOptions aggregation;
  StepTotals totals;

  Case(const Json& o, std::span<const TrainRow> rows) {
    loss.kind = o["kind"] == "cross_entropy" ? TokenLossKind::kCrossEntropy : TokenLossKind::kPolicyGradient;
    loss.clip_low = o["clip_low"];
    loss.clip_high = o["clip_high"];
    loss.dual_clip = o["dual_clip"];
    loss.correction = o["correction"] == "none"   ? MismatchCorrection::kNone
                      : o["correction"] == "mask" ? MismatchCorrection::kMask
                                                  : MismatchCorrection::kTruncate;
    loss.correction_cap = o["correction_cap"];
    loss.kl_coefficient = o["kl_coefficient"];
    const std::string kind = o["aggregation"];
    aggregation.kind = kind == "token_mean"      ? AggregationKind::kTokenMean
                       : kind == "constant"      ? AggregationKind::kConstant
                       : kind == "sequence_mean" ? AggregationKind::kSequenceMean
                                                 : AggregationKind::kTraceLength;
    aggregation.constant_tokens = o["constant_tokens"];
    totals = count_step(rows, o["traces"], o["optimizer_steps"]);
  }
};

TEST(TokenLoss, LossAndSlopesEqualPyTorch) {
  const Json& json = golden()["losses"];
  const auto advantages = json["advantages"].get<Numbers>();
  std::vector<TrainRow> rows;
  std::vector<int64_t> trace_tokens(advantages.size());
  for (const Json& entry : json["rows"]) {
    TrainRow& row = rows.emplace_back();
    row.trace = entry["trace"];
    row.trained = entry["trained"].get<std::vector<uint8_t>>();
    row.advantage = static_cast<float>(advantages[static_cast<size_t>(row.trace)]);
    trace_tokens[static_cast<size_t>(row.trace)] += trained_tokens(row);
  }
  for (TrainRow& row : rows) row.trace_tokens = trace_tokens[static_cast<size_t>(row.trace)];
  ASSERT_EQ(json["cases"].size(), 12U);
  for (const Json& entry : json["cases"]) {
    const std::string name = entry["name"];
    const Case options(entry["options"], rows);
    double total = 0;
    for (size_t r = 0; r < rows.size(); ++r) {
      const Json& numbers = json["rows"][r];
      for (size_t t = 0; t < rows[r].trained.size(); ++t) {
        const double want = entry["slopes"][r][t];
        if (rows[r].trained[t] == 0) {
          EXPECT_EQ(want, 0);
          continue;
        }
        const auto loss =
            token_loss({numbers["logprob"][t], numbers["old"][t], numbers["behavior"][t], numbers["reference"][t]},
                       rows[r].advantage, options.loss);
        const double weight = token_weight(rows[r], options.totals, options.aggregation);
        expect_near(weight * loss.slope, want, 1e-12, name + ", row " + std::to_string(r) + ", " + std::to_string(t));
        total += weight * loss.loss;
      }
    }
    expect_near(total, entry["loss"], 1e-12, name);
  }
}

TEST(TokenLoss, OnPolicyNothingIsClippedAndTheSlopeIsTheAdvantage) {
  for (const double advantage : {-2.0, 0.0, 1.5}) {
    const auto loss = token_loss({-1.25, -1.25, -1.25, 0}, advantage, {});
    EXPECT_FALSE(loss.clipped);
    EXPECT_EQ(loss.slope, -advantage);
    EXPECT_EQ(loss.correction, 1);
  }
}

TEST(TokenLoss, ClipsAreReported) {
  EXPECT_TRUE(token_loss({0, -0.5, -0.5, 0}, 1, {}).clipped);  // ratio 1.65 > 1.26
  EXPECT_FALSE(token_loss({-0.5, 0, 0, 0}, 1, {}).clipped);    // ratio 0.61 with A > 0 stays pessimistic
  EXPECT_TRUE(token_loss({-0.5, 0, 0, 0}, -1, {}).clipped);    // ratio 0.61 < 0.8
  const auto dual = token_loss({0, -3, -3, 0}, -1, {});        // ratio 20 > 3
  EXPECT_TRUE(dual.clipped);
  EXPECT_EQ(dual.loss, 3);
  EXPECT_EQ(dual.slope, 0);
}

TEST(TokenLogprobs, ValuesAndGradientsEqualPyTorch) {
  for (const Json& json : golden()["heads"]) {
    const int64_t rows = json["rows"], width = json["width"], vocab = json["vocab"];
    const auto load = [&](const char* name, at::IntArrayRef shape) {
      return at::tensor(json[name].get<Numbers>()).view(shape).to(at::kFloat);
    };
    for (const auto mode : {ops::NumericMode::kFast, ops::NumericMode::kExact}) {
      const at::Tensor hidden = load("hidden", {rows, width}).requires_grad_(true);
      const at::Tensor head = load("head", {vocab, width}).requires_grad_(true);
      const at::Tensor targets = at::tensor(json["targets"].get<std::vector<int64_t>>());
      const auto got = ops::token_logprobs(hidden, head, targets, json["temperature"], mode);
      torch::autograd::backward({got.logprobs}, {load("upstream", {rows})});
      EXPECT_FALSE(got.entropy.requires_grad());
      for (const auto& [name, tensor] :
           {std::pair("logprobs", got.logprobs), std::pair("entropy", got.entropy),
            std::pair("grad_hidden", hidden.grad()), std::pair("grad_head", head.grad())}) {
        const auto want = json[name].get<Numbers>();
        const at::Tensor flat = tensor.detach().reshape({-1}).to(at::kDouble);
        ASSERT_EQ(flat.numel(), static_cast<int64_t>(want.size()));
        for (size_t i = 0; i < want.size(); ++i) {
          expect_near(flat.const_data_ptr<double>()[i], want[i], 4e-6, name);
        }
      }
    }
  }
}

TEST(Packing, KeepsTheBudgetAndEveryRow) {
  const std::vector<int64_t> tokens{5, 90, 40, 40, 7, 130, 60, 20, 1};
  const auto batches = pack_rows(tokens, 100);
  std::vector<int64_t> seen;
  for (const auto& batch : batches) {
    int64_t sum = 0;
    for (const int64_t row : batch) {
      sum += tokens[static_cast<size_t>(row)];
      seen.push_back(row);
    }
    EXPECT_TRUE(sum <= 100 || batch.size() == 1);
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(batches, (std::vector<std::vector<int64_t>>{{5}, {1, 4, 8}, {2, 6}, {0, 3, 7}}));
  EXPECT_TRUE(pack_rows({}, 10).empty());
}

TEST(Packing, StepsTakeWholeTracesInOrder) {
  for (const int64_t traces : {0, 1, 3, 8, 13}) {
    for (const int64_t steps : {1, 2, 5}) {
      const auto ranges = split_traces(traces, steps);
      ASSERT_EQ(static_cast<int64_t>(ranges.size()), steps);
      int64_t next = 0;
      for (const auto& range : ranges) {
        EXPECT_EQ(range.from, next);
        EXPECT_LE(range.to - range.from, traces / steps + 1);
        next = range.to;
      }
      EXPECT_EQ(next, traces);
    }
  }
}

TEST(Schedule, WarmsUpAndDecays) {
  ScheduleOptions o{.kind = ScheduleKind::kLinear, .learning_rate = 2, .warmup_steps = 4, .total_steps = 14};
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 0), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 3), 2);
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 4), 2);
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 9), 1);
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 14), 0);
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 99), 0);
  o.kind = ScheduleKind::kCosine;
  o.final_fraction = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 9), 2 * (0.1 + 0.9 * 0.5));
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 50), 0.2);
  o.kind = ScheduleKind::kConstant;
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 50), 2);
  EXPECT_DOUBLE_EQ(learning_rate_at({.learning_rate = 3}, 0), 3);
}

// A matrix and a vector without a model.
class PlainTrainable : public Trainable {
 public:
  PlainTrainable(const Numbers& matrix, const Numbers& vector, at::ScalarType type) {
    Numbers all = matrix;
    all.insert(all.end(), vector.begin(), vector.end());
    const auto n = static_cast<int64_t>(matrix.size()), end = static_cast<int64_t>(all.size());
    values_ = at::tensor(all).to(type);
    gradients_ = at::zeros({end}, at::kFloat);
    parts_ = {{"matrix", {n}, 0, n, true}, {"vector", {end - n}, n, end, false}};
  }
  const std::vector<FlatPart>& parts() const override { return parts_; }
  at::Tensor values() const override { return values_; }
  at::Tensor gradients() const override { return gradients_; }
  void published() override {}

 private:
  std::vector<FlatPart> parts_;
  at::Tensor values_, gradients_;
};

TEST(Optimizer, StepsEqualPyTorchsAdamW) {
  const Json& json = golden()["adamw"];
  const Json& o = json["options"];
  PlainTrainable trainable(json["start"]["matrix"], json["start"]["vector"], at::kFloat);
  const AdamWOptions options{o["beta1"], o["beta2"], o["epsilon"], o["weight_decay"], o["max_grad_norm"]};
  Optimizer optimizer(&trainable, options);
  for (const Json& step : json["steps"]) {
    auto gradients = step["gradients"]["matrix"].get<Numbers>();
    for (const double g : step["gradients"]["vector"].get<Numbers>()) gradients.push_back(g);
    trainable.gradients().copy_(at::tensor(gradients));
    const double norm = norm_of_blocks(block_square_sums(trainable.gradients()));
    expect_near(norm, step["norm"], 1e-12, "norm");
    optimizer.step(o["learning_rate"], optimizer.clip_scale(norm));
    auto want = step["matrix"].get<Numbers>();
    for (const double value : step["vector"].get<Numbers>()) want.push_back(value);
    const at::Tensor values = trainable.values().to(at::kDouble);
    for (size_t i = 0; i < want.size(); ++i) expect_near(values.const_data_ptr<double>()[i], want[i], 2e-6, "value");
  }
}

}  // namespace
}  // namespace throughline

// The update: gradients against one plain autograd graph over whole logits, whatever the micro-batches and with layers
// checkpointed; what moves weights and what does not; the optimizer's state; LoRA beside the decoder.
#include "train/update.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>

#include "engine/sampler.h"
#include "model/dense_attention.h"
#include "ops/token_logprobs.h"
#include "train/lora.h"
#include "train/packing.h"
#include "train/row_attention.h"

namespace throughline {
namespace {

using ops::NumericMode;

std::unique_ptr<Decoder> load(const std::string& name, const std::string& dtype = "") {
  Decoder::LoadOptions options;
  options.dtype = dtype;
  return Decoder::load(THROUGHLINE_SOURCE_DIR "/tests/golden/model/" + name, options).value();
}

// Rows of three traces, with a forced id and log-probs near what the model gives.
std::vector<TrainRow> make_rows(const Decoder& decoder) {
  std::vector<TrainRow> rows;
  int64_t number = 0;
  for (const auto& [trace, prompt, response] :
       {std::tuple(0, 3, 9), std::tuple(0, 5, 4), std::tuple(1, 4, 12), std::tuple(2, 1, 7)}) {
    TrainRow& row = rows.emplace_back();
    row.prompt_tokens = prompt;
    for (int64_t i = 0; i < prompt + response; ++i) {
      row.ids.push_back(static_cast<int32_t>((number * 7919 + i * 104729 + 13) % decoder.config().vocab));
    }
    for (int64_t i = 0; i < response; ++i) {
      row.trained.push_back(i != 2);
      row.behavior_logprobs.push_back(i == 2 ? std::numeric_limits<float>::quiet_NaN()
                                             : -4.5F - 0.25F * static_cast<float>(i % 3));
    }
    row.trace = trace;
    row.advantage = trace == 1 ? -0.75F : 1.25F;
    ++number;
  }
  for (TrainRow& row : rows) {
    for (const TrainRow& other : rows) row.trace_tokens += other.trace == row.trace ? trained_tokens(other) : 0;
  }
  return rows;
}

std::vector<const TrainRow*> pointers(const std::vector<TrainRow>& rows) {
  std::vector<const TrainRow*> out;
  for (const TrainRow& row : rows) out.push_back(&row);
  return out;
}

// The loss as one graph, without packing, chunking or checkpointing.
at::Tensor plain_loss(const Decoder& decoder, const std::vector<TrainRow>& rows, const UpdateOptions& o,
                      const StepTotals& totals) {
  at::Tensor loss;
  for (const TrainRow& row : rows) {
    std::vector<int64_t> ids(row.ids.begin(), row.ids.end()), positions(row.ids.size());
    std::iota(positions.begin(), positions.end(), 0);
    DenseAttention attention({0, row.tokens()}, positions, decoder.rope(), decoder.attention_scale());
    const at::Tensor hidden = decoder.forward(at::tensor(ids), attention, NumericMode::kFast);
    const at::Tensor logprobs = at::log_softmax(decoder.logits(hidden, NumericMode::kFast).div(o.temperature), -1);
    for (int64_t i = 0; i < row.response_tokens(); ++i) {
      if (row.trained[static_cast<size_t>(i)] == 0) continue;
      const int64_t at = row.prompt_tokens + i;
      const at::Tensor logprob = logprobs.select(0, at - 1).select(0, row.ids[static_cast<size_t>(at)]);
      const at::Tensor ratio = logprob.sub(row.behavior_logprobs[static_cast<size_t>(i)]).exp();
      const at::Tensor clipped = ratio.clamp(1 - o.loss.clip_low, 1 + o.loss.clip_high);
      at::Tensor token = at::max(ratio.mul(-row.advantage), clipped.mul(-row.advantage));
      if (row.advantage < 0) token = token.clamp_max(-row.advantage * o.loss.dual_clip);
      const at::Tensor part = token.mul(token_weight(row, totals, o.aggregation));
      loss = loss.defined() ? loss.add(part) : part;
    }
  }
  return loss;
}

UpdateOptions options_for_test() {
  UpdateOptions o;
  o.temperature = 0.8;
  o.optimizer.max_grad_norm = 0.5;
  return o;
}

// Gradients of plain_loss() through the separate operators, as one flat vector; the weights stay in their file map.
at::Tensor plain_gradients(const std::string& name, const std::vector<TrainRow>& rows, const UpdateOptions& o,
                           const StepTotals& totals, double* loss) {
  const auto decoder = load(name);
  for (auto& [weight_name, weight] : decoder->parameters()) weight.requires_grad_(true);
  const at::Tensor value = plain_loss(*decoder, rows, o, totals);
  torch::autograd::backward({value}, {});
  *loss = value.item<double>();
  std::vector<at::Tensor> parts;
  for (auto& [weight_name, weight] : decoder->parameters()) parts.push_back(weight.grad().reshape({-1}));
  return at::cat(parts);
}

class UpdateGradients : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Families, UpdateGradients,
                         ::testing::Values("qwen3", "qwen2-gqa-tied", "llama2-mha", "llama-odd-sizes"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(UpdateGradients, EqualOnePlainGraph) {
  const auto decoder = load(GetParam());
  FullTrainable trainable(decoder.get());
  const auto rows = make_rows(*decoder);
  const StepTotals totals = count_step(rows, 3, 1);
  const UpdateOptions o = options_for_test();
  double loss = 0;
  const at::Tensor want = plain_gradients(GetParam(), rows, o, totals, &loss);
  ASSERT_GT(want.abs().max().item<double>(), 1e-4);
  for (const bool checkpoint : {false, true}) {
    for (const int64_t budget : {1000, 14}) {  // one micro-batch, several
      trainable.zero_gradients();
      UpdateOptions options = o;
      options.checkpoint_layers = checkpoint;
      Updater updater(decoder.get(), &trainable, options);
      std::vector<int64_t> tokens;
      for (const TrainRow& row : rows) tokens.push_back(row.tokens());
      const auto batches = pack_rows(tokens, budget);
      EXPECT_EQ(batches.size(), budget == 14 ? 4U : 1U);
      for (const auto& batch : batches) {
        std::vector<const TrainRow*> part;
        for (const int64_t row : batch) part.push_back(&rows[static_cast<size_t>(row)]);
        updater.accumulate(part, totals);
      }
      const double error = trainable.gradients().sub(want).abs().max().item<double>();
      EXPECT_LT(error, 2e-6 * std::max(1.0, want.abs().max().item<double>())) << checkpoint << " " << budget;
      const UpdateStats stats = updater.apply(0);
      EXPECT_NEAR(stats.loss, loss, 1e-5);
      EXPECT_EQ(stats.trained_tokens, totals.tokens);
      EXPECT_EQ(stats.rows, 4);
      const double norm = want.to(at::kDouble).norm().item<double>();
      EXPECT_NEAR(stats.grad_norm, norm, 1e-5 * norm);
      EXPECT_GT(stats.gap_max, stats.gap_mean);
      EXPECT_GT(stats.entropy, 0);
      EXPECT_EQ(trainable.gradients().abs().max().item<float>(), 0);
    }
  }
}

TEST(Update, TheTrainersForwardPassHasTheSamplersBitsUnderExact) {
  for (const char* name : {"qwen3", "qwen3-bf16-tf5", "qwen2-untied-bf16", "qwen2-gqa-tied", "llama2-mha"}) {
    const auto decoder = load(name);
    decoder->make_trainable();
    std::vector<int64_t> ids, positions;
    for (int64_t i = 0; i < 50; ++i) {
      ids.push_back(i * i % decoder->config().vocab);
      positions.push_back(i);
    }
    for (const auto mode : {NumericMode::kExact, NumericMode::kFast}) {
      DenseAttention attention({0, 50}, positions, decoder->rope(), decoder->attention_scale());
      const at::Tensor trained = decoder->forward(at::tensor(ids), attention, mode);
      const at::NoGradGuard guard;
      const at::Tensor sampled = decoder->forward(at::tensor(ids), attention, mode);
      EXPECT_TRUE(trained.requires_grad() && !sampled.requires_grad());
      const double tolerance = decoder->dtype() == at::kFloat ? 1e-5 : 5e-2;
      EXPECT_TRUE(mode == NumericMode::kExact ? at::equal(trained, sampled)
                                              : at::allclose(trained, sampled, tolerance, tolerance))
          << name;
    }
  }
}

// The attention of real training; its bits hang on nothing but its inputs (those of the BLAS may hang on the load).
AttentionFactory packed_attention() {
  return [](const Decoder& decoder, std::span<const TrainRow* const> rows) -> std::unique_ptr<AttentionContext> {
    std::vector<PackedRow> packed;
    for (const TrainRow* row : rows) packed.push_back({row->tokens() - 1, &row->evictions});
    return std::make_unique<RowAttention>(decoder, std::move(packed), NumericMode::kFast);
  };
}

TEST(Update, CheckpointedLayersGiveTheSameBits) {
  for (const char* name : {"qwen3", "qwen3-bf16-tf5", "qwen2-untied-bf16", "qwen2-gqa-tied"}) {
    const auto decoder = load(name);
    FullTrainable trainable(decoder.get());
    const auto rows = make_rows(*decoder);
    const StepTotals totals = count_step(rows, 3, 1);
    at::Tensor first;
    for (const bool checkpoint : {false, true}) {
      UpdateOptions options = options_for_test();
      options.checkpoint_layers = checkpoint;
      Updater updater(decoder.get(), &trainable, options, packed_attention());
      updater.accumulate(pointers(rows), totals);
      if (!checkpoint) first = trainable.gradients().clone();
      for (const FlatPart& part : trainable.parts()) {
        const auto of = [&](const at::Tensor& flat) { return flat.narrow(0, part.begin, part.end - part.begin); };
        EXPECT_TRUE(at::equal(of(first), of(trainable.gradients()))) << name << " " << part.name;
      }
      EXPECT_GT(first.abs().max().item<double>(), 0) << name;
      trainable.zero_gradients();
    }
  }
}

TEST(Update, TrainingLowersTheLossAndMovesTheSharedWeights) {
  for (const std::string dtype : {"fp32", "bf16"}) {
    const auto decoder = load("qwen3", dtype);
    FullTrainable trainable(decoder.get());
    auto rows = make_rows(*decoder);
    for (TrainRow& row : rows) row.behavior_logprobs.clear();
    UpdateOptions options;
    options.loss.kind = TokenLossKind::kCrossEntropy;
    options.aggregation.kind = AggregationKind::kTokenMean;
    Updater updater(decoder.get(), &trainable, options);
    const at::Tensor before = trainable.values().clone();
    std::vector<double> losses;
    for (int step = 0; step < 30; ++step) {
      updater.accumulate(pointers(rows), count_step(rows, 3, 1));
      losses.push_back(updater.apply(1e-2).loss);
      EXPECT_TRUE(std::isnan(updater.apply(0).gap_mean));
    }
    EXPECT_LT(losses.back(), 0.3 * losses.front()) << dtype;
    EXPECT_FALSE(at::equal(before, trainable.values()));
    EXPECT_TRUE(at::equal(decoder->parameters()[0].second.reshape({-1}),
                          trainable.values().narrow(0, 0, decoder->head().numel())));
    // The log-probs without gradient are those that training saw.
    const auto logprobs = updater.logprobs(pointers(rows));
    EXPECT_TRUE(std::isnan(logprobs[0][2]));
    double sum = 0;
    for (const auto& row : logprobs) {
      for (const float value : row) sum += std::isnan(value) ? 0 : value;
    }
    updater.accumulate(pointers(rows), count_step(rows, 3, 1));
    EXPECT_NEAR(updater.apply(0).loss, -sum / static_cast<double>(count_step(rows, 3, 1).tokens), 1e-5);
  }
}

TEST(Update, ANonFiniteNormChangesNothing) {
  const auto decoder = load("qwen3");
  FullTrainable trainable(decoder.get());
  auto rows = make_rows(*decoder);
  rows[1].advantage = std::numeric_limits<float>::infinity();
  Updater updater(decoder.get(), &trainable, options_for_test());
  const at::Tensor before = trainable.values().clone();
  updater.accumulate(pointers(rows), count_step(rows, 3, 1));
  const UpdateStats stats = updater.apply(0.1);
  EXPECT_TRUE(stats.skipped);
  EXPECT_FALSE(std::isfinite(stats.grad_norm));
  EXPECT_TRUE(at::equal(before, trainable.values()));
  EXPECT_EQ(updater.optimizer().steps(), 0);
  EXPECT_EQ(trainable.gradients().abs().max().item<float>(), 0);
}

// A trainable of random numbers, long enough for several shards.
class NoiseTrainable : public Trainable {
 public:
  NoiseTrainable(int64_t size, at::ScalarType type)
      : values_(at::tensor(std::vector<double>(size, 0.0)).to(type)), gradients_(at::zeros_like(values_, at::kFloat)) {
    fill(values_, 1);
    parts_ = {{"m", {size / 3}, 0, size / 3, true},
              {"v", {size / 3}, size / 3, 2 * (size / 3), false},
              {"n", {size - 2 * (size / 3)}, 2 * (size / 3), size, true}};
  }
  void new_gradients(uint64_t seed) { fill(gradients_, seed); }
  const std::vector<FlatPart>& parts() const override { return parts_; }
  at::Tensor values() const override { return values_; }
  at::Tensor gradients() const override { return gradients_; }
  void published() override {}

 private:
  static void fill(at::Tensor& t, uint64_t seed) {
    std::vector<float> noise;
    for (int64_t i = 0; i < t.numel(); ++i)
      noise.push_back(static_cast<float>(random_uniform({seed, 0, static_cast<uint64_t>(i), RngPurpose::kTest}) - 0.5));
    t.copy_(at::tensor(noise));
  }
  std::vector<FlatPart> parts_;
  at::Tensor values_, gradients_;
};

TEST(Optimizer, ShardsGiveTheBitsOfTheWhole) {
  constexpr int64_t kBlock = Trainable::kShardAlign, kSize = 5 * kBlock + 777;
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    NoiseTrainable whole(kSize, type), parts(kSize, type);
    const AdamWOptions options{.weight_decay = 0.1};
    Optimizer all(&whole, options), first(&parts, options, 0, 2 * kBlock), second(&parts, options, 2 * kBlock, kSize);
    for (uint64_t step = 0; step < 3; ++step) {
      whole.new_gradients(10 + step);
      parts.new_gradients(10 + step);
      all.step(0.01, 0.7);
      first.step(0.01, 0.7);
      second.step(0.01, 0.7);
      EXPECT_TRUE(at::equal(whole.values(), parts.values())) << step;
    }
    EXPECT_EQ(all.state_bytes(), first.state_bytes() + second.state_bytes());
  }
}

TEST(Optimizer, ARestoredStateGoesOnToTheBit) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    NoiseTrainable a(40000, type), b(40000, type);
    Optimizer one(&a, {}), two(&b, {});
    for (uint64_t step = 0; step < 2; ++step) {
      a.new_gradients(step + 5);
      one.step(0.01, 1);
    }
    b.values().copy_(a.values());
    two.reset_masters();
    ASSERT_TRUE(two.restore(one.state(), "state").ok());
    EXPECT_EQ(two.steps(), 2);
    a.new_gradients(9);
    b.new_gradients(9);
    one.step(0.01, 1);
    two.step(0.01, 1);
    EXPECT_TRUE(at::equal(a.values(), b.values()));
    auto broken = one.state();
    broken.erase(broken.begin() + 1);
    EXPECT_EQ(two.restore(broken, "state").error().where, "state: \"exp_avg\"");
  }
}

TEST(Optimizer, MastersKeepWhatBf16WouldLose) {
  NoiseTrainable noise(256, at::kBFloat16);
  noise.values().fill_(1);
  AdamWOptions options;
  Optimizer optimizer(&noise, options);
  for (int step = 0; step < 20; ++step) {
    noise.gradients().fill_(1);
    optimizer.step(1e-3, 1);  // each step is under half of bf16's unit near 1
  }
  EXPECT_NEAR(noise.values()[0].item<double>(), 0.98, 4e-3);
}

TEST(Optimizer, TheNormsBitsDoNotHangOnThreads) {
  NoiseTrainable noise(100000, at::kFloat);
  noise.new_gradients(3);
  const double norm = norm_of_blocks(block_square_sums(noise.gradients()));
  EXPECT_NEAR(norm, noise.gradients().to(at::kDouble).norm().item<double>(), 1e-9);
  std::vector<double> pieces;  // as two processes would have them
  for (const auto& [from, to] : {std::pair<int64_t, int64_t>(0, 3 * Trainable::kShardAlign),
                                 std::pair<int64_t, int64_t>(3 * Trainable::kShardAlign, 100000)}) {
    for (const double sum : block_square_sums(noise.gradients().narrow(0, from, to - from))) pieces.push_back(sum);
  }
  EXPECT_EQ(norm, norm_of_blocks(pieces));
}

TEST(Lora, GradientsAreThoseOfAAndB) {
  const auto plain = load("qwen3"), adapted = load("qwen3");
  FullTrainable full(plain.get());
  const LoraOptions options{.rank = 3, .alpha = 6, .targets = {"q_proj", "down_proj"}, .seed = 4};
  const auto lora = LoraTrainable::create(adapted.get(), options, "lora").value();
  // B is zero at first: the model is the base model, and dA = 0.
  EXPECT_EQ(lora->values().narrow(0, lora->parts()[1].begin, 4).abs().max().item<float>(), 0);
  for (int64_t i = 0; i < lora->size(); ++i) lora->values()[i] = 0.02 * std::sin(static_cast<double>(i));
  lora->published();
  {
    const at::NoGradGuard guard;
    full.values().copy_(adapted->flat_weights());
  }
  const auto rows = make_rows(*plain);
  UpdateOptions o = options_for_test();
  Updater base(plain.get(), &full, o), beside(adapted.get(), lora.get(), o);
  base.accumulate(pointers(rows), count_step(rows, 3, 1));
  beside.accumulate(pointers(rows), count_step(rows, 3, 1));
  ASSERT_EQ(lora->parts().size(), 2U * 2U * static_cast<size_t>(plain->config().layers));
  for (size_t i = 0; i < lora->parts().size(); i += 2) {
    const FlatPart &pa = lora->parts()[i], &pb = lora->parts()[i + 1];
    ASSERT_TRUE(pa.name.starts_with("base_model.model.model.layers.") && pa.name.ends_with(".lora_A.weight"))
        << pa.name;
    const std::string name = pa.name.substr(17, pa.name.size() - 17 - 14) + ".weight";
    at::Tensor gradient;
    for (const FlatPart& part : full.parts()) {
      if (part.name == name) gradient = full.gradients().narrow(0, part.begin, part.end - part.begin).view(part.shape);
    }
    ASSERT_TRUE(gradient.defined()) << name;
    const auto view = [&](const at::Tensor& flat, const FlatPart& p) {
      return flat.narrow(0, p.begin, p.end - p.begin).view(p.shape);
    };
    const at::Tensor a = view(lora->values(), pa), b = view(lora->values(), pb);
    EXPECT_TRUE(at::allclose(view(lora->gradients(), pa), at::mm(b.t(), gradient).mul(2), 1e-4, 1e-7));
    EXPECT_TRUE(at::allclose(view(lora->gradients(), pb), at::mm(gradient, a.t()).mul(2), 1e-4, 1e-7));
  }
  for (const auto& [name, weight] : adapted->parameters()) EXPECT_FALSE(weight.grad().defined()) << name;
}

TEST(Lora, TrainsAndItsAdapterComesBack) {
  for (const std::string dtype : {"fp32", "bf16"}) {
    const auto decoder = load("qwen3", dtype);
    const at::Tensor embedding = decoder->head().clone();
    const auto lora = LoraTrainable::create(decoder.get(), {.rank = 4}, "lora").value();
    auto rows = make_rows(*decoder);
    UpdateOptions options;
    options.loss.kind = TokenLossKind::kCrossEntropy;
    options.aggregation.kind = AggregationKind::kTokenMean;
    Updater updater(decoder.get(), lora.get(), options);
    std::vector<double> losses;
    for (int step = 0; step < 20; ++step) {
      updater.accumulate(pointers(rows), count_step(rows, 3, 1));
      losses.push_back(updater.apply(1e-2).loss);
    }
    EXPECT_LT(losses.back(), 0.8 * losses.front()) << dtype;
    EXPECT_TRUE(at::equal(embedding, decoder->head()));  // frozen
    const std::string folder = std::filesystem::temp_directory_path() / ("throughline-lora-" + dtype);
    ASSERT_TRUE(lora->save_adapter(folder, "base").ok());
    const auto again = load("qwen3", dtype);
    const auto restored = LoraTrainable::create(again.get(), {.rank = 4, .seed = 99}, "lora").value();
    ASSERT_TRUE(restored->load_adapter(folder).ok());
    EXPECT_TRUE(at::equal(decoder->flat_weights(), again->flat_weights()));
    const auto other = load("qwen3", dtype);
    const auto wider = LoraTrainable::create(other.get(), {.rank = 5}, "lora").value();
    EXPECT_EQ(wider->load_adapter(folder).error().what, "has another shape");
    std::filesystem::remove_all(folder);
  }
  const auto decoder = load("qwen3");
  EXPECT_EQ(LoraTrainable::create(decoder.get(), {.targets = {"x_proj"}}, "lora").error().where, "lora: targets");
  EXPECT_EQ(LoraTrainable::create(decoder.get(), {.rank = 0}, "lora").error().where, "lora: rank");
}

TEST(ExactLogprobs, AreTheSamplersBits) {
  for (const char* name : {"qwen3", "qwen2-untied-bf16"}) {
    const auto decoder = load(name);
    const int64_t width = decoder->config().hidden;
    std::vector<float> noise;
    for (int64_t i = 0; i < 40 * width; ++i)
      noise.push_back(static_cast<float>(std::sin(static_cast<double>(i * i % 1013))) * 2);
    const at::Tensor hidden = at::tensor(noise).view({40, width}).to(decoder->dtype());
    for (const double temperature : {1.0, 0.6, 1.7}) {
      std::vector<int64_t> targets;
      std::vector<float> reported;
      SamplerScratch scratch;
      for (int64_t r = 0; r < 40; ++r) {  // one row at a time, as a decode step of one sequence
        const at::Tensor logits = decoder->logits(hidden.narrow(0, r, 1), NumericMode::kExact).contiguous();
        SamplingOptions options;
        options.temperature = temperature;
        options.sampling_logprobs = true;
        options.seed = static_cast<uint64_t>(r);
        const auto draw = draw_token({logits.const_data_ptr<float>(), static_cast<size_t>(logits.numel())}, options, {},
                                     {}, 0, scratch);
        targets.push_back(draw.id);
        reported.push_back(draw.sampling_logprob);
      }
      const auto got =
          ops::token_logprobs(hidden, decoder->head(), at::tensor(targets), temperature, NumericMode::kExact);
      EXPECT_TRUE(at::equal(got.logprobs, at::tensor(reported))) << name << " " << temperature;
      const at::Tensor want = at::log_softmax(decoder->logits(hidden, NumericMode::kExact).div(temperature), -1)
                                  .gather(1, at::tensor(targets).unsqueeze(1))
                                  .squeeze(1);
      EXPECT_TRUE(at::allclose(got.logprobs, want, 1e-5, 1e-5));
    }
  }
}

}  // namespace
}  // namespace throughline

// The log-prob gap between sampler and trainer, end to end: the engine samples, rows_from_trace() makes rows, the
// decoder runs over them with RowAttention. Zero exactly under --exact, small in fast mode, large without the replay.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/engine_fixture.h"
#include "ops/token_logprobs.h"
#include "train/row_attention.h"
#include "train/rows_from_trace.h"
#include "train/update.h"

namespace throughline {
namespace {

const std::string kStories = THROUGHLINE_SOURCE_DIR "/models/stories260K";
const std::string kQwen = THROUGHLINE_SOURCE_DIR "/tests/golden/model/qwen3";

std::unique_ptr<TinyModel> load(const std::string& folder, const std::string& dtype) {
  auto out = std::make_unique<TinyModel>();
  auto decoder = Decoder::load(folder, {.dtype = dtype});
  EXPECT_TRUE(decoder.ok());
  out->decoder = std::move(decoder).value();
  return out;
}

struct Setting {
  std::string kv, think;
  double temperature = 1;
};

// Several requests of several samples each, all running at once.
std::vector<SampleResult> sample_all(Engine& engine, const std::vector<Setting>& settings, int64_t vocab,
                                     int64_t max_tokens) {
  std::vector<SampleResult> results;
  for (size_t i = 0; i < settings.size(); ++i) {
    Request request = greedy_request(random_prompt(5 + 9 * static_cast<int64_t>(i), vocab, 70 + i), max_tokens,
                                     settings[i].kv, settings[i].think);
    request.sampling.temperature = settings[i].temperature;
    request.sampling.sampling_logprobs = true;
    request.sampling.seed = 11 + i;
    request.samples = 3;
    request.on_finish = [&results](SampleResult result) { results.push_back(std::move(result)); };
    EXPECT_TRUE(engine.submit(std::move(request), "test").ok());
  }
  engine.run_until_idle();
  EXPECT_EQ(results.size(), 3 * settings.size());
  return results;
}

std::vector<TrainRow> rows_of(std::vector<SampleResult> results) {
  std::vector<TrainRow> rows;
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].error, "");
    auto made = rows_from_trace(std::move(results[i]), static_cast<int64_t>(i));
    EXPECT_TRUE(made.ok()) << made.error().line();
    for (TrainRow& row : *made) rows.push_back(std::move(row));
  }
  return rows;
}

struct Gap {
  double max = 0, mean = 0;
  int64_t tokens = 0;
};

// Over the sampled tokens of rows that are fed as one pack.
Gap gap_of(const Decoder& decoder, const std::vector<TrainRow>& rows, double temperature, ops::NumericMode mode,
           bool replay = true) {
  const at::NoGradGuard guard;
  std::vector<PackedRow> pack;
  std::vector<int64_t> ids;
  for (const TrainRow& row : rows) {
    pack.push_back({row.tokens() - 1, replay ? &row.evictions : nullptr});
    ids.insert(ids.end(), row.ids.begin(), row.ids.end() - 1);
  }
  std::vector<int64_t> sources, targets;  // fed row that predicts, id that was sampled
  std::vector<float> behavior;
  int64_t begin = 0;
  for (const TrainRow& row : rows) {
    for (int64_t i = 0; i < row.response_tokens(); ++i) {
      if (!row.trained[i]) continue;
      sources.push_back(begin + row.prompt_tokens + i - 1);
      targets.push_back(row.ids[row.prompt_tokens + i]);
      behavior.push_back(row.behavior_logprobs[i]);
    }
    begin += row.tokens() - 1;
  }
  RowAttention attention(decoder, pack, mode);
  const at::Tensor hidden = decoder.forward(at::tensor(ids), attention, mode).index_select(0, at::tensor(sources));
  const auto own = ops::token_logprobs(hidden, decoder.head(), at::tensor(targets), temperature, mode).logprobs;
  Gap gap;
  gap.tokens = static_cast<int64_t>(behavior.size());
  for (int64_t i = 0; i < gap.tokens; ++i) {
    const double apart = std::abs(static_cast<double>(own.const_data_ptr<float>()[i]) - behavior[i]);
    EXPECT_FALSE(std::isnan(apart));
    gap.max = std::max(gap.max, apart);
    gap.mean += apart;
  }
  gap.mean /= static_cast<double>(std::max<int64_t>(1, gap.tokens));
  return gap;
}

int64_t events_of(const std::vector<TrainRow>& rows) {
  int64_t events = 0;
  for (const TrainRow& row : rows) events += static_cast<int64_t>(row.evictions.size());
  return events;
}

class RolloutGap : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override { model_ = load(std::get<0>(GetParam()), std::get<1>(GetParam())); }
  bool trained_model() const { return std::get<0>(GetParam()) == kStories; }
  std::unique_ptr<TinyModel> model_;
};

TEST_P(RolloutGap, IsZeroUnderExact) {
  const int64_t vocab = model_->decoder->config().vocab;
  for (const double temperature : {1.0, 0.6}) {
    const std::vector<Setting> settings = {
        {"full", "longcot", temperature},
        {"rpc:interval=16,ratio=4,window=4", "longcot", temperature},
        {"rpc:interval=16,ratio=4,window=4", "delethink:chunk=96,carry=32,head=8,max_chunks=3", temperature},
        {"full", "delethink:chunk=96,carry=32,head=8,max_chunks=3", temperature},
        {"h2o:budget=40,recent=8", "longcot", temperature},
        {"random:budget=48,interval=8,window=8", "longcot", temperature}};
    const auto engine = model_->engine({.prefill_slice_tokens = 7, .exact = true});
    const auto rows = rows_of(sample_all(*engine, settings, vocab, 190));
    EXPECT_GE(rows.size(), 24u);  // chunks of Delethink give rows of their own
    EXPECT_GT(events_of(rows), 100);
    const Gap packed = gap_of(*model_->decoder, rows, temperature, ops::NumericMode::kExact);
    EXPECT_EQ(packed.max, 0) << "over " << packed.tokens << " tokens";
    EXPECT_GT(packed.tokens, 3000);
    for (size_t r = 0; r < rows.size(); r += 5) {
      EXPECT_EQ(gap_of(*model_->decoder, {rows[r]}, temperature, ops::NumericMode::kExact).max, 0) << "row " << r;
    }
  }
}

TEST_P(RolloutGap, IsSmallInFastModeAndLargeWithoutTheReplay) {
  const int64_t vocab = model_->decoder->config().vocab;
  const std::vector<Setting> settings = {
      {"rpc:interval=16,ratio=4,window=4", "longcot"},
      {"rpc:interval=16,ratio=4,window=4", "delethink:chunk=96,carry=32,head=8,max_chunks=3"}};
  const auto engine = model_->engine();
  const auto rows = rows_of(sample_all(*engine, settings, vocab, 190));
  const Gap fast = gap_of(*model_->decoder, rows, 1, ops::NumericMode::kFast);
  const Gap full = gap_of(*model_->decoder, rows, 1, ops::NumericMode::kFast, /*replay=*/false);
  const bool fp32 = model_->decoder->dtype() == at::kFloat;
  std::printf("%s %s: gap over %lld tokens, replayed: mean %.2g max %.2g; full attention instead: mean %.2g max %.2g\n",
              trained_model() ? "stories260K" : "qwen3", fp32 ? "fp32" : "bf16", static_cast<long long>(fast.tokens),
              fast.mean, fast.max, full.mean, full.max);
  EXPECT_LT(fast.max, fp32 ? 1e-3 : 0.5);
  EXPECT_LT(fast.mean, fp32 ? 1e-5 : 0.05);
  EXPECT_GT(full.mean, 4 * fast.mean);
  EXPECT_GT(full.max, trained_model() ? 1.0 : 10 * fast.mean);
}

INSTANTIATE_TEST_SUITE_P(Models, RolloutGap,
                         ::testing::Combine(::testing::Values(kStories, kQwen), ::testing::Values("fp32", "bf16")),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) == kStories ? "stories" : "qwen3") + "_" +
                                  std::get<1>(info.param);
                         });

AttentionFactory attention_of(ops::NumericMode mode, bool replay) {
  return [=](const Decoder& decoder, std::span<const TrainRow* const> rows) -> std::unique_ptr<AttentionContext> {
    std::vector<PackedRow> pack;
    for (const TrainRow* row : rows) pack.push_back({row->tokens() - 1, replay ? &row->evictions : nullptr});
    return std::make_unique<RowAttention>(decoder, std::move(pack), mode);
  };
}

// One optimizer step on rows sampled under rpc: what the updater reports, and the gradient before the step.
struct Step {
  UpdateStats stats;
  at::Tensor gradients, moved;
};

Step train_one_step(const std::vector<TrainRow>& rows, ops::NumericMode mode, bool replay, bool checkpoint_layers) {
  const auto model = load(kStories, "fp32");
  FullTrainable trainable(model->decoder.get());
  UpdateOptions options;
  options.mode = mode;
  options.checkpoint_layers = checkpoint_layers;
  Updater updater(model->decoder.get(), &trainable, options, attention_of(mode, replay));
  const StepTotals totals = count_step(rows, rows.back().trace + 1, 1);
  std::vector<const TrainRow*> batch;
  for (const TrainRow& row : rows) batch.push_back(&row);
  const auto half = batch.begin() + static_cast<int64_t>(batch.size() / 2);
  updater.accumulate(std::vector<const TrainRow*>(batch.begin(), half), totals);
  updater.accumulate(std::vector<const TrainRow*>(half, batch.end()), totals);
  Step out;
  out.gradients = trainable.gradients().clone();
  const at::Tensor before = trainable.values().detach().clone();
  out.stats = updater.apply(1e-4);
  out.moved = trainable.values().detach().sub(before);
  return out;
}

TEST(TrainingUnderRpc, AStepSeesTheSamplersLogProbsAndFullAttentionWouldNot) {
  const auto model = load(kStories, "fp32");
  const auto engine = model->engine({.exact = true});
  auto rows = rows_of(
      sample_all(*engine, {{"rpc:interval=16,ratio=4,window=4", "longcot"}}, model->decoder->config().vocab, 150));
  ASSERT_GT(events_of(rows), 15);
  for (TrainRow& row : rows) row.advantage = row.trace == 0 ? 1.0F : -0.5F;

  const Step exact = train_one_step(rows, ops::NumericMode::kExact, /*replay=*/true, /*checkpoint_layers=*/true);
  EXPECT_EQ(exact.stats.gap_max, 0);
  EXPECT_EQ(exact.stats.trained_tokens, 450);
  EXPECT_EQ(exact.stats.clip_fraction, 0);
  EXPECT_GT(exact.moved.abs().max().item<float>(), 0);
  const Step kept = train_one_step(rows, ops::NumericMode::kExact, true, /*checkpoint_layers=*/false);
  EXPECT_TRUE(at::equal(kept.gradients, exact.gradients));
  EXPECT_TRUE(at::equal(kept.moved, exact.moved));

  const auto apart = [&](const Step& step) {
    return step.gradients.sub(exact.gradients).norm().item<double>() / exact.gradients.norm().item<double>();
  };
  const Step fast = train_one_step(rows, ops::NumericMode::kFast, true, true);
  const Step full = train_one_step(rows, ops::NumericMode::kExact, /*replay=*/false, true);
  std::printf("one step on rpc rows: gap max exact %g, fast %.2g, full attention %.2g; gradient off by %.2g and %.2g\n",
              exact.stats.gap_max, fast.stats.gap_max, full.stats.gap_max, apart(fast), apart(full));
  EXPECT_LT(fast.stats.gap_max, 1e-3);
  EXPECT_LT(apart(fast), 1e-3);
  EXPECT_GT(full.stats.gap_max, 1);
  EXPECT_GT(full.stats.clip_fraction, 0.05);
  EXPECT_GT(apart(full), 0.1);
}

// Too little memory, nothing parked: samples are dropped and replayed again and again, and their records stay whole.
TEST(RowsFromTrace, PreemptedSamplesKeepTheirRecords) {
  const auto model = load(kStories, "fp32");
  const int64_t vocab = model->decoder->config().vocab;
  const auto engine = model->engine({.kv_memory_bytes = model->kv_bytes(420), .exact = true});
  const auto rows =
      rows_of(sample_all(*engine, {{"rpc:interval=16,ratio=2,window=4", "longcot"}, {"full", "longcot"}}, vocab, 150));
  EXPECT_GT(engine->stats().preemptions_replayed, 0);
  EXPECT_EQ(gap_of(*model->decoder, rows, 1, ops::NumericMode::kExact).max, 0);
}

// Cancelled at a moment when some samples are dropped or in the middle of a replay: what was sampled can be trained on.
TEST(RowsFromTrace, SamplesThatEndWhileDroppedKeepTheirRecords) {
  const auto model = load(kStories, "fp32");
  const int64_t vocab = model->decoder->config().vocab;
  for (const int64_t steps : {150, 190, 230, 270}) {
    const auto engine =
        model->engine({.kv_memory_bytes = model->kv_bytes(200), .prefill_slice_tokens = 3, .exact = true});
    std::vector<SampleResult> results;
    Request request = greedy_request(random_prompt(8, vocab, 5), 200, "rpc:interval=16,ratio=2,window=4");
    request.sampling.temperature = 1;
    request.sampling.sampling_logprobs = true;
    request.samples = 4;
    request.on_finish = [&](SampleResult result) { results.push_back(std::move(result)); };
    const auto ticket = engine->submit(std::move(request), "test");
    ASSERT_TRUE(ticket.ok());
    for (int64_t i = 0; i < steps; ++i) engine->step();
    engine->cancel(*ticket, FinishDetail::kCancelled);
    engine->run_until_idle();
    ASSERT_EQ(results.size(), 4u);
    EXPECT_GT(engine->stats().preemptions_replayed, 0);
    const auto rows = rows_of(std::move(results));
    EXPECT_EQ(gap_of(*model->decoder, rows, 1, ops::NumericMode::kExact).max, 0) << "after " << steps << " steps";
  }
}

TEST(RowsFromTrace, OneRowAChunkAndForcedIdsAreNotTrained) {
  SampleResult result;
  result.trace.chunks.resize(3);
  ChunkTrace& first = result.trace.chunks[0];
  first.prompt_ids = {5, 6, 7};
  first.token_ids = {8, 9, 10, 11};
  first.draws = {{8, -1, -0.5F, {}}, {9, kNoLogprob, kNoLogprob, {}}, {10, -2, -0.25F, {}}, {11, -1, -4, {}}};
  first.forced = {{1, 2}};
  first.weight_version = 3;
  ChunkTrace& second = result.trace.chunks[1];
  second.prompt_ids = {5, 6, 7, 10, 11};
  second.token_ids = {12};
  second.draws = {{12, -1, -0.125F, {}}};
  second.weight_version = 4;
  result.trace.chunks[2].prompt_ids = {5, 6, 7, 12};  // cancelled before its first token
  result.kv.resize(3);
  result.kv[0].records.resize(2);

  const auto rows = rows_from_trace(std::move(result), 17);
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 2u);
  const TrainRow& row = (*rows)[0];
  EXPECT_EQ(row.ids, (std::vector<int32_t>{5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(row.prompt_tokens, 3);
  EXPECT_EQ(row.trained, (std::vector<uint8_t>{1, 0, 1, 1}));
  EXPECT_EQ(row.behavior_logprobs[0], -0.5F);
  EXPECT_TRUE(std::isnan(row.behavior_logprobs[1]));
  EXPECT_EQ(row.evictions.size(), 2u);
  EXPECT_EQ(row.trace, 17);
  EXPECT_EQ(row.trace_tokens, 4);
  EXPECT_EQ(row.weight_version, 3);
  EXPECT_EQ((*rows)[1].prompt_tokens, 5);
  EXPECT_EQ((*rows)[1].trace_tokens, 4);
  EXPECT_EQ((*rows)[1].weight_version, 4);
}

TEST(RowsFromTrace, RefusesTracesWithoutLogProbs) {
  SampleResult result;
  result.trace.chunks.resize(1);
  result.trace.chunks[0].prompt_ids = {5};
  result.trace.chunks[0].token_ids = {6};
  result.trace.chunks[0].draws = {{6}};
  result.kv.resize(1);
  const auto rows = rows_from_trace(std::move(result), 0);
  ASSERT_FALSE(rows.ok());
  EXPECT_EQ(rows.error().line(),
            "chunk 0 of the trace: a sampled token has no log-prob; sample with sampling_logprobs");
}

TEST(CheckTrainable, RefusesOptionsThatChangeTheSupport) {
  EXPECT_TRUE(check_trainable(SamplingOptions{.temperature = 0.6}, "recipe").ok());
  for (const SamplingOptions& options :
       {SamplingOptions{.temperature = 0}, SamplingOptions{.top_p = 0.9}, SamplingOptions{.top_k = 20},
        SamplingOptions{.min_p = 0.1}, SamplingOptions{.repetition_penalty = 1.1},
        SamplingOptions{.presence_penalty = 1}, SamplingOptions{.frequency_penalty = 1},
        SamplingOptions{.logit_bias = {{3, 1.0}}}, SamplingOptions{.min_tokens = 4}}) {
    EXPECT_FALSE(check_trainable(options, "recipe").ok());
  }
}

}  // namespace
}  // namespace throughline

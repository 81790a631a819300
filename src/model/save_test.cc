#include "model/save.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "model/dense_attention.h"
#include "model/memory_plan.h"
#include "model/model_test_folder.h"
#include "model/synth.h"

namespace throughline {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Decoder> loaded(const std::string& folder, const std::string& dtype = "") {
  Decoder::LoadOptions options;
  options.dtype = dtype;
  auto decoder = Decoder::load(folder, options);
  if (!decoder.ok()) ADD_FAILURE() << decoder.error().line();
  return decoder.ok() ? std::move(decoder).value() : nullptr;
}

void expect_same_parameters(const Decoder& a, const Decoder& b) {
  const auto left = a.parameters(), right = b.parameters();
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    EXPECT_EQ(left[i].first, right[i].first);
    EXPECT_TRUE(at::equal(left[i].second, right[i].second)) << left[i].first;
  }
}

TEST(Save, EveryFamilyLoadsBackTheSameBitsAlsoSharded) {
  for (const char* name : {"qwen2-untied-bf16", "qwen3", "llama-linear", "llama3-rope"}) {
    const auto decoder = loaded(golden_model(name));
    for (const uint64_t limit : {uint64_t{1} << 40, uint64_t{20000}}) {
      const TestFolder folder;
      SaveOptions options;
      options.max_shard_bytes = limit;
      const std::string out = folder.file("model");
      const Status status = save_model(out, decoder->config(), decoder->parameters(), options);
      ASSERT_TRUE(status.ok()) << status.error().line();
      EXPECT_EQ(file_exists(join_path(out, "model.safetensors")), limit > 20000);
      expect_same_parameters(*decoder, *loaded(out));
    }
  }
}

TEST(Save, ConvertsWhenAskedAndRefusesAFolderWithAModel) {
  const auto decoder = loaded(golden_model("qwen3"));
  const TestFolder folder;
  SaveOptions options;
  options.dtype = "bfloat16";
  ASSERT_TRUE(save_model(folder.file("m"), decoder->config(), decoder->parameters(), options).ok());
  const auto narrow = loaded(folder.file("m"));
  EXPECT_EQ(narrow->dtype(), at::kBFloat16);
  EXPECT_EQ(narrow->config().dtype, "bfloat16");
  const Status again = save_model(folder.file("m"), decoder->config(), decoder->parameters());
  ASSERT_FALSE(again.ok());
  EXPECT_THAT(again.error().line(), HasSubstr("already holds a model"));
}

TEST(Load, DtypeOptionConvertsBothWays) {
  const auto wide = loaded(golden_model("qwen2-untied-bf16"), "fp32");
  EXPECT_EQ(wide->dtype(), at::kFloat);
  const auto narrow = loaded(golden_model("qwen3"), "bf16");
  EXPECT_EQ(narrow->dtype(), at::kBFloat16);
  EXPECT_EQ(loaded(golden_model("llama2-mha-fp16"))->dtype(), at::kFloat);  // fp16 computes in fp32
  const auto same = loaded(golden_model("qwen2-untied-bf16"));
  for (size_t i = 0; i < same->parameters().size(); ++i)
    EXPECT_TRUE(at::equal(same->parameters()[i].second.to(at::kFloat), wide->parameters()[i].second));
  const auto bad = Decoder::load(golden_model("qwen3"), {.dtype = "int4"});
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().line(), "--dtype: \"int4\" is not supported; use fp32 or bf16");
}

TEST(Load, UnalignedBytesAreCopied) {
  const TestFolder folder;
  folder.copy_from(golden_model("qwen3"));
  std::string bytes = read_file(folder.file("model.safetensors")).value();
  bytes.insert(8 + static_cast<unsigned char>(bytes[0]) + (static_cast<unsigned char>(bytes[1]) << 8), " ");
  for (size_t i = 0; ++bytes[i] == 0; ++i) {
  }
  folder.write("model.safetensors", bytes);
  expect_same_parameters(*loaded(golden_model("qwen3")), *loaded(folder.path()));
}

TEST(Load, CopiesInHugePagesAreTheSameBits) {
  for (const char* name : {"qwen3", "qwen25-fp16-sharded", "qwen2-untied-bf16"}) {
    auto copied = Decoder::load(golden_model(name), {.mmap = false});
    ASSERT_TRUE(copied.ok()) << copied.error().line();
    expect_same_parameters(*loaded(golden_model(name)), **copied);
  }
}

SynthOptions tiny(const TestFolder& folder, const std::string& name) {
  SynthOptions options;
  options.shape = golden_model("qwen3") + "/config.json";
  options.dtype = "fp32";
  options.seed = 7;
  options.output = folder.file(name);
  return options;
}

TEST(Synth, IsAFunctionOfItsSeedAndComputesFiniteLogits) {
  const TestFolder folder;
  uint64_t last = 0, total = 0;
  const auto progress = [&](uint64_t done, uint64_t all) {
    EXPECT_GT(done, last);
    last = done;
    total = all;
    return true;
  };
  ASSERT_TRUE(synthesize(tiny(folder, "a"), progress).ok());
  EXPECT_EQ(last, total);
  SynthOptions sharded = tiny(folder, "b");
  sharded.max_shard_bytes = 30000;
  ASSERT_TRUE(synthesize(sharded, {}).ok());
  const auto a = loaded(folder.file("a")), b = loaded(folder.file("b"));
  expect_same_parameters(*a, *b);
  EXPECT_EQ(static_cast<int64_t>(total), a->weight_bytes());
  SynthOptions other = tiny(folder, "c");
  other.seed = 8;
  ASSERT_TRUE(synthesize(other, {}).ok());
  EXPECT_FALSE(at::equal(loaded(folder.file("c"))->parameters()[0].second, a->parameters()[0].second));
  std::vector<int64_t> positions(20);
  std::iota(positions.begin(), positions.end(), 0);
  DenseAttention attention({0, 20}, positions, a->rope(), a->attention_scale());
  const at::Tensor logits =
      a->logits(a->forward(at::tensor(positions), attention, ops::NumericMode::kFast), ops::NumericMode::kFast);
  EXPECT_TRUE(logits.isfinite().all().item<bool>());
  EXPECT_GT(logits.std().item<double>(), 0.1);
  EXPECT_LT(logits.abs().max().item<double>(), 100);
}

TEST(Synth, StopsWhenToldAndLeavesNoHalfFile) {
  const TestFolder folder;
  const Status status = synthesize(tiny(folder, "a"), [](uint64_t, uint64_t) { return false; });
  ASSERT_FALSE(status.ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder.file("a")));
}

TEST(Synth, KnownShapesHaveTheirPublishedSizes) {
  SynthOptions options;
  options.shape = "qwen3-0.6b";
  EXPECT_EQ(synth_config(options)->parameters(), 596049920);
  options.shape = "r1-distill-qwen-1.5b";
  EXPECT_EQ(synth_config(options)->parameters(), 1777088000);
  options.shape = "r1-distill-qwen-7b";
  EXPECT_EQ(synth_config(options)->parameters(), 7615616512);
  EXPECT_EQ(synth_config(options)->dtype, "bfloat16");
  options.shape = "gpt5";
  EXPECT_THAT(synth_config(options).error().line(), HasSubstr("--shape: \"gpt5\" is neither a known shape nor a file"));
}

TEST(MemoryPlan, CountsWeightsAndKeysAndValues) {
  SynthOptions shape;
  shape.shape = "qwen3-0.6b";
  MemoryPlanOptions options;
  options.memory_bytes = int64_t{8} << 30;
  const auto plan = plan_memory(*synth_config(shape), options);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->weight_bytes, 596049920 * 2);
  EXPECT_EQ(plan->kv_bytes_per_token, 2 * 28 * 8 * 128 * 2);
  EXPECT_EQ(plan->tokens_that_fit(), (plan->memory_bytes - plan->weight_bytes - plan->reserve_bytes) / 114688);
  options.memory_bytes = 1 << 20;
  EXPECT_EQ(plan_memory(*synth_config(shape), options)->tokens_that_fit(), 0);
  EXPECT_GT(available_memory_bytes().value(), 1 << 20);
}

}  // namespace
}  // namespace throughline

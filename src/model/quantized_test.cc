// Quantized models: close to the plain one, the same bits from a saved folder as quantized while loading, and clear
// errors.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "model/decoder.h"
#include "model/dense_attention.h"
#include "model/model_test_folder.h"
#include "model/save.h"

namespace throughline {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Decoder> loaded(const std::string& folder, const std::string& weights) {
  auto decoder = Decoder::load(folder, {.weights = weights});
  if (!decoder.ok()) ADD_FAILURE() << decoder.error().line();
  return decoder.ok() ? std::move(decoder).value() : nullptr;
}

at::Tensor logits_of(const Decoder& decoder, int64_t rows) {
  const at::NoGradGuard guard;
  std::vector<int64_t> positions(rows);
  std::iota(positions.begin(), positions.end(), 0);
  DenseAttention attention({0, rows}, positions, decoder.rope(), decoder.attention_scale());
  const at::Tensor ids = at::arange(rows, at::kLong).remainder(decoder.config().vocab);
  return decoder.logits(decoder.forward(ids, attention, ops::NumericMode::kFast), ops::NumericMode::kFast);
}

double relative_distance(const at::Tensor& a, const at::Tensor& b) {
  return a.sub(b).norm().item<double>() / b.norm().item<double>();
}

TEST(Quantized, LogitsStayCloseAndASavedFolderGivesTheSameBits) {
  for (const char* name : {"qwen2-untied-bf16", "qwen3", "llama3-rope"}) {
    const auto plain = loaded(golden_model(name), "");
    const at::Tensor want = logits_of(*plain, 20);
    // Of tiny random models, whose numbers do not help each other: real ones are closer (docs/quantization.md).
    for (const auto& [weights, distance] : {std::pair<std::string, double>{"int8", 0.06}, {"int4", 0.6}}) {
      const auto decoder = loaded(golden_model(name), weights);
      EXPECT_LT(decoder->weight_bytes(), plain->weight_bytes());
      EXPECT_EQ(decoder->dtype(), plain->dtype());
      const at::Tensor got = logits_of(*decoder, 20);
      EXPECT_LT(relative_distance(got, want), distance) << name << " " << weights;
      EXPECT_GT(relative_distance(got, want), 0);
      const TestFolder folder;
      const Status saved = save_model(folder.file("m"), decoder->config(), decoder->parameters());
      ASSERT_TRUE(saved.ok()) << saved.error().line();
      const auto again = loaded(folder.file("m"), "");
      EXPECT_EQ(again->config().weights, weights);
      EXPECT_EQ(again->dtype(), plain->dtype());
      EXPECT_TRUE(at::equal(logits_of(*again, 20), got));
    }
  }
}

TEST(Quantized, ErrorsAreClear) {
  const auto decoder = loaded(golden_model("qwen3"), "int8");
  const TestFolder folder;
  ASSERT_TRUE(save_model(folder.file("m"), decoder->config(), decoder->parameters()).ok());
  const auto other = Decoder::load(folder.file("m"), {.weights = "int4"});
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().line(), HasSubstr("the files hold int8 weights"));
  const auto unknown = Decoder::load(golden_model("qwen3"), {.weights = "int3"});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().line(), "--weights: \"int3\" is not supported; use int8 or int4");

  // A config that promises another format than the files hold.
  auto config = decoder->config();
  config.weights = "int4";
  const TestFolder wrong;
  ASSERT_TRUE(save_model(wrong.file("m"), config, decoder->parameters()).ok());
  const auto mismatch = Decoder::load(wrong.file("m"), {});
  ASSERT_FALSE(mismatch.ok());
  EXPECT_THAT(mismatch.error().line(), HasSubstr("has shape"));
}

}  // namespace
}  // namespace throughline

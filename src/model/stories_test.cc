// stories260K (models/stories260K, from karpathy/llama2.c, MIT): the top-5 logits of a double-precision reference and
// the published greedy text's ids.
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/json.h"
#include "model/decoder.h"
#include "model/dense_attention.h"
#include "model/model_test_folder.h"

namespace throughline {
namespace {

class Stories : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string folder = THROUGHLINE_SOURCE_DIR "/models/stories260K";
    if (!file_exists(folder + "/config.json")) GTEST_SKIP() << folder << " is not there yet";
    auto loaded = Decoder::load(folder, {});
    ASSERT_TRUE(loaded.ok()) << loaded.error().line();
    decoder_ = std::move(loaded).value();
    golden_ = read_json_file(golden_model("stories260K") + "/golden_greedy.json").value();
    tokens_ = golden_["tokens"].get<std::vector<int64_t>>();
  }

  at::Tensor logits(const std::vector<int64_t>& ids, ops::NumericMode mode) const {
    std::vector<int64_t> positions(ids.size());
    std::iota(positions.begin(), positions.end(), 0);
    DenseAttention attention({0, static_cast<int64_t>(ids.size())}, positions, decoder_->rope(),
                             decoder_->attention_scale());
    return decoder_->logits(decoder_->forward(at::tensor(ids), attention, mode), mode);
  }

  std::unique_ptr<Decoder> decoder_;
  Json golden_;
  std::vector<int64_t> tokens_;
};

TEST_F(Stories, TopFiveLogitsEqualTheReference) {
  for (const auto mode : {ops::NumericMode::kFast, ops::NumericMode::kExact}) {
    const at::Tensor all = logits(tokens_, mode);
    for (const auto& [position, top] : golden_["top5_logits_at_position"].items()) {
      for (const Json& entry : top) {
        const float got = all[std::stoll(position)][entry[0].get<int64_t>()].item<float>();
        EXPECT_NEAR(got, entry[1].get<double>(), 2e-4) << "position " << position;
      }
    }
  }
}

TEST_F(Stories, EveryGreedyStepIsTheGoldenToken) {
  // Teacher-forced: the argmax after each golden prefix is the next golden token, for all 511 steps (the first 200 are
  // the text in llama2.c's test_all.py).
  const at::Tensor best = logits(tokens_, ops::NumericMode::kFast).argmax(-1);
  for (size_t i = 0; i + 1 < tokens_.size(); ++i)
    ASSERT_EQ(best[static_cast<int64_t>(i)].item<int64_t>(), tokens_[i + 1]) << "step " << i;
}

TEST_F(Stories, GreedyFromBosGivesTheGoldenStart) {
  std::vector<int64_t> ids = {tokens_.front()};
  while (ids.size() < 33) {
    const at::Tensor last = logits(ids, ops::NumericMode::kExact)[static_cast<int64_t>(ids.size()) - 1];
    ids.push_back(last.argmax().item<int64_t>());
  }
  EXPECT_EQ(ids, std::vector<int64_t>(tokens_.begin(), tokens_.begin() + 33));
}

}  // namespace
}  // namespace throughline

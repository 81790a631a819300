// The decoder against transformers: teacher-forced log-probs on every checkpoint under tests/golden/model (its README
// describes the form; tools/dump_reference.py writes them), in both numeric modes.
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/files.h"
#include "base/json.h"
#include "model/decoder.h"
#include "model/dense_attention.h"
#include "model/golden_names.h"

namespace throughline {
namespace {

const std::string kGolden = THROUGHLINE_SOURCE_DIR "/tests/golden/model";

struct Reference {
  std::vector<int64_t> prompt, greedy;
  std::vector<std::vector<std::pair<int64_t, double>>> top5;
  double logprob_max = 0, logprob_mean = -1;
  bool ids_are_stable = true;  // bf16 runs may part at a near tie

  explicit Reference(const std::string& folder) {
    const Json json = read_json_file(folder + "/reference.json").value();
    prompt = json["prompt_ids"].get<std::vector<int64_t>>();
    greedy = json["greedy_ids"].get<std::vector<int64_t>>();
    for (const Json& step : json["top5"]) {
      auto& row = top5.emplace_back();
      for (const Json& entry : step) row.emplace_back(entry[0].get<int64_t>(), entry[1].get<double>());
    }
    logprob_max = json["tolerance"]["logprob_max"].get<double>();
    if (json["tolerance"].contains("logprob_mean")) logprob_mean = json["tolerance"]["logprob_mean"].get<double>();
    ids_are_stable = json["compute_dtype"] == "fp32";
  }
};

std::unique_ptr<Decoder> load(const std::string& folder, const std::string& dtype = "") {
  Decoder::LoadOptions options;
  options.dtype = dtype;
  auto loaded = Decoder::load(folder, options);
  if (!loaded.ok()) ADD_FAILURE() << loaded.error().line();
  return loaded.ok() ? std::move(loaded).value() : nullptr;
}

// Log-probs [steps, vocab] of the rows that predict `greedy`.
at::Tensor teacher_forced(const Decoder& decoder, const Reference& reference, ops::NumericMode mode) {
  std::vector<int64_t> ids = reference.prompt;
  ids.insert(ids.end(), reference.greedy.begin(), reference.greedy.end() - 1);
  std::vector<int64_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  const auto rows = static_cast<int64_t>(ids.size()), from = static_cast<int64_t>(reference.prompt.size()) - 1;
  DenseAttention attention({0, rows}, positions, decoder.rope(), decoder.attention_scale());
  const at::Tensor hidden = decoder.forward(at::tensor(ids), attention, mode);
  return at::log_softmax(decoder.logits(hidden.narrow(0, from, rows - from), mode), -1);
}

class Parity : public ::testing::TestWithParam<std::string> {};

TEST_P(Parity, TeacherForcedLogprobsEqualTransformers) {
  const std::string folder = kGolden + "/" + GetParam();
  const Reference reference(folder);
  ASSERT_EQ(reference.greedy.size(), 300U);
  const auto decoder = load(folder);
  ASSERT_NE(decoder, nullptr);
  for (const auto mode : {ops::NumericMode::kFast, ops::NumericMode::kExact}) {
    const at::Tensor logprobs = teacher_forced(*decoder, reference, mode);
    double worst = 0, sum = 0;
    int same_top = 0;
    for (size_t step = 0; step < reference.top5.size(); ++step) {
      const float* row = logprobs.const_data_ptr<float>() + static_cast<int64_t>(step) * logprobs.size(1);
      for (const auto& [id, logprob] : reference.top5[step]) {
        worst = std::max(worst, std::abs(row[id] - logprob));
        sum += std::abs(row[id] - logprob);
      }
      same_top += std::max_element(row, row + logprobs.size(1)) - row == reference.top5[step][0].first;
    }
    const double mean = sum / (5.0 * static_cast<double>(reference.top5.size()));
    EXPECT_LT(worst, reference.logprob_max);
    EXPECT_TRUE(reference.logprob_mean < 0 || mean < reference.logprob_mean) << mean;
    EXPECT_GE(same_top, reference.ids_are_stable ? 300 : 285);
    RecordProperty(mode == ops::NumericMode::kFast ? "fast_worst" : "exact_worst", std::to_string(worst));
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Parity, ::testing::ValuesIn(golden_names(kGolden)), golden_test_name);

}  // namespace
}  // namespace throughline

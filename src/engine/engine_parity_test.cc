// The engine against transformers: 300 greedy tokens with top-5 log-probs on every checkpoint under tests/golden/model,
// for whole and sliced prefill, alone and among seven unlike neighbours.
#include "base/files.h"
#include "engine/engine_fixture.h"
#include "model/golden_names.h"

namespace throughline {
namespace {

const std::string kGolden = THROUGHLINE_SOURCE_DIR "/tests/golden/model";

class EngineParity : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string folder = kGolden + "/" + GetParam();
    reference_ = read_json_file(folder + "/reference.json").value();
    model_ = TinyModel::load(folder);
    tolerance_ = reference_["tolerance"]["logprob_max"].get<double>();
    fp32_ = reference_["compute_dtype"] == "fp32";
  }

  Request request() const {
    auto out = greedy_request(reference_["prompt_ids"].get<std::vector<int32_t>>(),
                              static_cast<int64_t>(reference_["greedy_ids"].size()));
    out.sampling.logprobs = 5;
    return out;
  }

  // fp32: every id and the five best. bf16: the same until the first near tie, where either side is right.
  void check(const SampleResult& result) const {
    const auto ids = result.trace.token_ids();
    const auto want = reference_["greedy_ids"].get<std::vector<int32_t>>();
    ASSERT_EQ(ids.size(), want.size());
    size_t compared = 0;
    for (size_t step = 0; step < want.size(); ++step) {
      const auto& draw = result.trace.chunks[0].draws[step];
      const Json& top = reference_["top5"][step];
      ASSERT_EQ(draw.top.size(), 5u);
      if (ids[step] != want[step]) {
        ASSERT_FALSE(fp32_) << "step " << step;
        EXPECT_LT(top[0][1].get<double>() - top[1][1].get<double>(), 2 * tolerance_) << "step " << step;
        break;
      }
      ++compared;
      for (size_t rank = 0; rank < 5; ++rank) {
        const auto want_logprob = top[rank][1].get<double>();
        EXPECT_NEAR(draw.top[rank].logprob, want_logprob, tolerance_) << "step " << step << " rank " << rank;
        if (fp32_ && rank == 0) {
          EXPECT_EQ(draw.top[rank].id, top[rank][0].get<int32_t>());
        }
      }
    }
    EXPECT_GE(compared, fp32_ ? want.size() : 10u);
  }

  Json reference_;
  TinyModel model_;
  double tolerance_ = 0;
  bool fp32_ = true;
};

TEST_P(EngineParity, WholePrefillAlone) {
  const auto engine = model_.engine();
  check(run_one(*engine, request()));
}

TEST_P(EngineParity, SlicedPrefillAlone) {
  const auto engine = model_.engine({.prefill_slice_tokens = 5});
  check(run_one(*engine, request()));
}

TEST_P(EngineParity, AmongSevenUnlikeNeighbours) {
  for (const int64_t slice : {7, 512}) {
    const auto engine = model_.engine({.prefill_slice_tokens = slice});
    const int64_t vocab = model_.decoder->config().vocab;
    std::vector<Request> requests;
    const char* const policies[] = {"full",
                                    "rpc:interval=16,window=4",
                                    "h2o:budget=40,recent=8",
                                    "tova:budget=30",
                                    "streaming:budget=24",
                                    "random:budget=48,interval=8,window=8",
                                    "snapkv:form=1,budget=40,interval=16,window=4"};
    for (int i = 0; i < 7; ++i) {
      requests.push_back(greedy_request(random_prompt(3 + 11 * i, vocab, 50 + i), 20 + 30 * i, policies[i]));
      requests.back().sampling.temperature = 0.3 * i;
      if (i == 3) requests.push_back(request());
    }
    check(run_all(*engine, std::move(requests))[4]);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, EngineParity, ::testing::ValuesIn(golden_names(kGolden)), golden_test_name);

}  // namespace
}  // namespace throughline

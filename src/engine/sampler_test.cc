#include "engine/sampler.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

namespace throughline {
namespace {

TokenDraw draw(const std::vector<float>& logits, const SamplingOptions& options, uint64_t counter = 0,
               const std::vector<int32_t>& forbidden = {}) {
  SamplerScratch scratch;
  TokenHistory history;
  history.tokens = static_cast<int64_t>(counter);
  return draw_token(logits, options, history, {.forbidden = forbidden}, 0, scratch);
}

std::vector<double> frequencies(const std::vector<float>& logits, const SamplingOptions& options, int draws = 20000) {
  std::vector<double> out(logits.size());
  for (int i = 0; i < draws; ++i) out[draw(logits, options, i).id] += 1.0 / draws;
  return out;
}

// Probabilities by definition: sort, filter, renormalise.
std::vector<double> expected(const std::vector<float>& logits, const SamplingOptions& o) {
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  if (o.top_k > 0 && o.top_k < static_cast<int64_t>(order.size())) order.resize(o.top_k);
  const auto weight = [&](int id) { return std::exp((logits[id] - logits[order[0]]) / o.temperature); };
  double total = 0, sum = 0;
  for (int id : order) total += weight(id);
  std::vector<int> kept;
  for (int id : order) {
    if (weight(id) < o.min_p && !kept.empty()) break;
    kept.push_back(id);
    sum += weight(id);
    if (o.top_p < 1 && sum >= o.top_p * total) break;
  }
  std::vector<double> out(logits.size());
  for (int id : kept) out[id] = weight(id) / sum;
  return out;
}

TEST(Sampler, DrawsTheDistributionItIsAskedFor) {
  const std::vector<float> logits = {1.F, 3.F, 2.5F, -1.F, 0.F, 2.9F, -4.F};
  const std::vector<SamplingOptions> cases = {{},
                                              {.temperature = 0.5},
                                              {.temperature = 2},
                                              {.top_p = 0.7},
                                              {.top_k = 3},
                                              {.min_p = 0.2},
                                              {.temperature = 1.5, .top_p = 0.8, .top_k = 4, .min_p = 0.1}};
  for (const auto& options : cases) {
    const auto want = expected(logits, options), have = frequencies(logits, options);
    for (size_t id = 0; id < logits.size(); ++id) {
      EXPECT_NEAR(have[id], want[id], 4 * std::sqrt(want[id] / 20000) + 1e-4) << "id " << id;
    }
  }
}

TEST(Sampler, LogprobsAreOfTheRightDistribution) {
  const std::vector<float> logits = {1.F, 3.F, 2.F};
  double total = 0;
  for (float logit : logits) total += std::exp(logit);
  SamplingOptions options{.temperature = 0.5, .top_k = 2, .logprobs = 2, .sampling_logprobs = true};
  const auto result = draw(logits, options);
  EXPECT_NEAR(result.logprob, logits[result.id] - std::log(total), 1e-6);
  EXPECT_NEAR(result.sampling_logprob, std::log(expected(logits, options)[result.id]), 1e-6);
  ASSERT_EQ(result.top.size(), 2u);
  EXPECT_EQ(result.top[0].id, 1);
  EXPECT_EQ(result.top[1].id, 2);
  EXPECT_NEAR(result.top[1].logprob, 2 - std::log(total), 1e-6);
}

TEST(Sampler, GreedyTakesTheSmallestIdOfEquals) { EXPECT_EQ(draw({1.F, 2.F, 2.F}, {.temperature = 0}).id, 1); }

TEST(Sampler, PenaltiesAndBias) {
  SamplerScratch scratch;
  TokenHistory history;
  history.prompt[0] = true;
  history.output[1] = 3;
  const auto greedy = [&](SamplingOptions options, std::vector<float> logits) {
    options.temperature = 0;
    return draw_token(logits, options, history, {}, 0, scratch).id;
  };
  EXPECT_EQ(greedy({}, {5.F, 4.9F, 4.F}), 0);
  EXPECT_EQ(greedy({.repetition_penalty = 1.5}, {5.F, 4.9F, 4.F}), 2);   // prompt and output
  EXPECT_EQ(greedy({.repetition_penalty = 2}, {-1.F, -1.F, -1.5F}), 2);  // negative logits grow more negative
  EXPECT_EQ(greedy({.presence_penalty = 1}, {3.F, 3.9F, 2.F}), 0);       // output only
  EXPECT_EQ(greedy({.frequency_penalty = 0.4}, {2.F, 3.9F, 3.F}), 2);    // 3.9 - 3 * 0.4
  EXPECT_EQ(greedy({.logit_bias = {{2, 10.0}}}, {5.F, 4.F, 0.F}), 2);
  EXPECT_EQ(draw({5.F, 4.F, 0.F}, {.temperature = 0}, 0, {0, 1}).id, 2);
}

TEST(Sampler, RangesAreChecked) {
  const auto line = [](const SamplingOptions& options) {
    const Status status = check_sampling(options, 100, "line 1");
    return status.ok() ? std::string() : status.error().line();
  };
  EXPECT_EQ(line({}), "");
  EXPECT_EQ(line({.top_p = 0}), "line 1: top_p: 0 is out of range; use a number over 0, up to 1");
  EXPECT_EQ(line({.stop_token_ids = {100}}),
            "line 1: stop_token_ids: token id 100 is not in the vocabulary; ids go from 0 to 99");
  for (const SamplingOptions& bad : std::vector<SamplingOptions>{{.temperature = NAN},
                                                                 {.temperature = -1},
                                                                 {.top_p = 1.1},
                                                                 {.top_k = -1},
                                                                 {.min_p = 1},
                                                                 {.repetition_penalty = 1e-46},
                                                                 {.presence_penalty = 3},
                                                                 {.frequency_penalty = -3},
                                                                 {.logit_bias = {{-1, 0.0}}},
                                                                 {.logit_bias = {{1, INFINITY}}},
                                                                 {.min_tokens = -1},
                                                                 {.stop = {""}},
                                                                 {.logprobs = 101}}) {
    EXPECT_NE(line(bad), "");
  }
}

// Damaged weights make NaN, and an id comes out all the same; the penalties cannot make one of what was taken out.
TEST(Sampler, NumbersThatAreNone) {
  const std::vector<float> none(20000, NAN);
  for (const SamplingOptions& options :
       std::vector<SamplingOptions>{{}, {.temperature = 0}, {.top_p = 0.9}, {.top_k = 5}, {.min_p = 0.1}}) {
    const int32_t id = draw(none, options).id;
    EXPECT_TRUE(id >= 0 && id < 20000);
  }
  SamplerScratch scratch;
  TokenHistory history;
  std::vector<float> logits(20000, 0);
  for (int32_t id = 0; id < 20000; ++id) history.prompt[id] = true;
  const std::vector<uint64_t> only = {uint64_t{1} << 7};
  for (const double penalty : {0.01, 100.0}) {
    const SamplingOptions options{.top_k = 3, .repetition_penalty = penalty, .logit_bias = {{9, 1000.0}}};
    EXPECT_EQ(draw_token(logits, options, history, {.allowed = only}, 0, scratch).id, 7);
  }
}

TEST(Sampler, TheColdestIsGreedy) {
  std::vector<float> logits(1000, 0);
  logits[777] = 1e-3F;
  for (const double temperature : {1e-300, 1e-40, 1e-7}) EXPECT_EQ(draw(logits, {.temperature = temperature}).id, 777);
}

RC_GTEST_PROP(Sampler, KeepsToTheFilteredSet, ()) {
  const auto logits = *rc::gen::container<std::vector<float>>(
      600, rc::gen::map(rc::gen::inRange(-500, 500), [](int x) { return static_cast<float>(x) / 100; }));
  SamplingOptions options;
  options.temperature = *rc::gen::element(0.3, 1.0, 3.0);
  options.top_p = *rc::gen::element(0.05, 0.5, 0.95, 0.999, 1.0);
  options.top_k = *rc::gen::element(0, 1, 7, 400, 1000);
  options.min_p = *rc::gen::element(0.0, 0.01, 0.5);
  const auto allowed = expected(logits, options);
  for (uint64_t i = 0; i < 20; ++i) {
    const auto id = draw(logits, options, i).id;
    // Equal logits at the border may go either way in the naive set; what counts is the value.
    double least = 1;
    for (size_t k = 0; k < logits.size(); ++k) {
      if (allowed[k] > 0) least = std::min<double>(least, allowed[k]);
    }
    double same = 0;
    for (size_t k = 0; k < logits.size(); ++k) {
      if (logits[k] == logits[id]) same = std::max(same, allowed[k]);
    }
    RC_ASSERT(same > 0);
  }
}

// Large vocabularies: blocks are passed by when the best are looked for and when an id is drawn.
TEST(Sampler, LargeVocabularies) {
  for (const size_t vocab : {2000, 151936}) {
    std::vector<float> logits(vocab);
    for (size_t id = 0; id < vocab; ++id) logits[id] = static_cast<float>((id * 7919) % 977) / 100;  // many ties
    std::vector<int32_t> order(vocab);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
    SamplerScratch scratch;
    for (const int64_t top : {0, 1, 20, 1500}) {
      const TokenDraw scored = score_token(logits, 17, top, scratch);
      ASSERT_EQ(scored.top.size(), static_cast<size_t>(top));
      for (int64_t i = 0; i < top; ++i) ASSERT_EQ(scored.top[i].id, order[i]) << vocab << " " << top << " " << i;
    }
    // Half of what is likely is one id in the middle, the rest lies evenly on a thousand.
    std::vector<float> peaked(vocab, -1e4F);
    for (size_t id = 0; id < 1000; ++id) peaked[id * (vocab / 1000)] = 0;
    const size_t middle = vocab / 2 + 1;
    peaked[middle] = std::log(1000.F);
    double hits = 0, mean = 0;
    const int draws = 2000;
    for (int i = 0; i < draws; ++i) {
      const int32_t id = draw(peaked, {}, i).id;
      ASSERT_GE(peaked[id], 0);
      hits += id == static_cast<int32_t>(middle);
      if (id != static_cast<int32_t>(middle)) mean += id;
    }
    EXPECT_NEAR(hits / draws, 0.5, 0.05);
    EXPECT_NEAR(mean / (draws - hits) / static_cast<double>(vocab), 0.5, 0.05);
  }
}

}  // namespace
}  // namespace throughline

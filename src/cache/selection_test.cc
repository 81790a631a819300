#include "cache/selection.h"

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/files.h"
#include "cache/policy_harness.h"

namespace throughline {
namespace {

using testing::ElementsAre;

at::Tensor row_of(const std::vector<float>& values) {
  at::Tensor out = at::zeros({1, static_cast<int64_t>(values.size())}, at::kFloat);
  std::copy(values.begin(), values.end(), out.data_ptr<float>());
  return out;
}
std::vector<float> values_of(const at::Tensor& x) {
  return std::vector<float>(x.data_ptr<float>(), x.data_ptr<float>() + x.numel());
}

TEST(Selection, OfEqualScoresTheLargerPositionStays) {
  const std::vector<float> scores = {2, 1, 1, 3, 1};
  EXPECT_THAT(lowest(scores, 0), ElementsAre());
  EXPECT_THAT(lowest(scores, 1), ElementsAre(1));
  EXPECT_THAT(lowest(scores, 2), ElementsAre(1, 2));
  EXPECT_THAT(lowest(scores, 4), ElementsAre(0, 1, 2, 4));
  EXPECT_THAT(lowest(scores, 5), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(lowest(std::vector<float>(6, 0.5F), 3), ElementsAre(0, 1, 2));
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  EXPECT_THAT(lowest(std::vector<float>{1, nan, -5, inf, nan}, 3), ElementsAre(1, 2, 4));
}

TEST(Selection, PoolsAtTheEdges) {
  const at::Tensor x = row_of({3, 0, 6, 9});
  EXPECT_THAT(values_of(average_pool(x, 3)), ElementsAre(1.5F, 3, 5, 7.5F));
  EXPECT_THAT(values_of(average_pool(x, 3, PoolEdge::kCountPadding)), ElementsAre(1, 3, 5, 5));
  EXPECT_THAT(values_of(max_pool(row_of({-3, -7, -6, -9}), 3)), ElementsAre(-3, -3, -6, -6));  // outside is not zero
  EXPECT_THAT(values_of(max_pool(x, 9)), ElementsAre(9, 9, 9, 9));
  EXPECT_THAT(values_of(average_pool(x, 9)), ElementsAre(4.5F, 4.5F, 4.5F, 4.5F));
  EXPECT_TRUE(average_pool(x, 1).equal(x));
  EXPECT_TRUE(max_pool(x, 1).equal(x));
  EXPECT_THROW(max_pool(x, 4), InvariantError);
}

TEST(Selection, MeansOverGroups) {
  at::Tensor x = at::zeros({4, 2}, at::kFloat);
  for (int64_t i = 0; i < 8; ++i) x.data_ptr<float>()[i] = static_cast<float>(i);
  EXPECT_THAT(values_of(group_mean(x, 2)), ElementsAre(1, 2, 5, 6));
  EXPECT_THAT(values_of(group_mean(x, 1)), ElementsAre(3, 4));
  EXPECT_THAT(values_of(group_mean(x, 4)), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST(Policies, SpecsSayWhatIsMissing) {
  const auto error = [](const std::string& text) {
    const auto spec = parse_spec(text, policy_infos(), "--kv");
    return spec.ok() ? std::string("accepted") : spec.error().line();
  };
  for (const char* method : {"random", "recency", "snapkv", "rkv", "h2o", "tova", "streaming"}) {
    EXPECT_THAT(error(method), testing::HasSubstr("needs the option \"budget\""));
  }
  EXPECT_THAT(error("h2o:budget=64"), testing::HasSubstr("needs the option \"recent\""));
  EXPECT_THAT(error("rpcc"), testing::HasSubstr("full, rpc, random, recency, snapkv, rkv, h2o, tova, streaming"));
  EXPECT_THAT(error("tova:budget=64,window=3"), testing::HasSubstr("it has: budget, min_budget, protect"));
  EXPECT_THAT(error("rkv:budget=64,lambda=2"), testing::HasSubstr("out of range"));
  EXPECT_THAT(error("streaming:budget=64,rotate=no"), testing::HasSubstr("true_position, cache"));
  EXPECT_THAT(error("full:protect=none"), testing::HasSubstr("no option"));
  EXPECT_EQ(error("rpc:interval=1K,protect=first:12,budget=2K"), "accepted");
}

TEST(Policies, ProtectModes) {
  const auto guarded = [](const std::string& text, int64_t prompt) {
    return harness::policy_of(text)->protected_tokens(prompt);
  };
  EXPECT_EQ(guarded("recency:budget=8", 1), 1);  // a one-token prompt is a prompt
  EXPECT_EQ(guarded("recency:budget=8,protect=none", 9), 0);
  EXPECT_EQ(guarded("recency:budget=8,protect=first:12", 9), 12);
  EXPECT_EQ(guarded("streaming:budget=8,protect=none", 9), 4);
  EXPECT_EQ(guarded("streaming:budget=8,protect=none,sinks=0", 9), 0);
  EXPECT_EQ(guarded("streaming:budget=8", 9), 9);
  EXPECT_EQ(guarded("streaming:budget=8", 2), 4);
}

TEST(Policies, PeakForAdmission) {
  EXPECT_EQ(harness::policy_of("tova:budget=72")->peak_tokens(23, 300), 73);
  EXPECT_EQ(harness::policy_of("snapkv:budget=72,interval=64")->peak_tokens(23, 300), 136);
  EXPECT_EQ(harness::policy_of("rpc:interval=64,ratio=4,window=8")->peak_tokens(23, 399), 175);
  EXPECT_EQ(harness::policy_of("recency:budget=72")->peak_tokens(23, 10), 33);
}

// The table of options in docs/policies.md is what the code says.
std::string option_table() {
  std::string out = "| method | option | default | meaning |\n|---|---|---|---|\n";
  for (const SpecInfo& info : policy_infos()) {
    out += "| **" + info.method + "** | | | " + info.help + " |\n";
    for (const OptionInfo& option : info.options) {
      std::string shown = option.required ? "required" : option.default_text;
      if (shown.empty()) shown = option.default_note.empty() ? "off" : option.default_note;
      std::string choices;
      for (const auto& choice : option.choices) choices += (choices.empty() ? "" : ", ") + choice;
      if (const size_t bar = shown.find(" | "); bar != std::string::npos) shown.replace(bar, 3, ", ");
      out += "| | `" + option.name + "` | " + shown + " | " + option.help +
             (choices.empty() ? "" : " (" + choices + ")") + " |\n";
    }
  }
  return out;
}

TEST(Policies, TheDocsShowTheirOptions) {
  const auto docs = read_file(std::string(THROUGHLINE_SOURCE_DIR) + "/docs/policies.md");
  ASSERT_TRUE(docs.ok());
  EXPECT_TRUE(docs->find(option_table()) != std::string::npos) << "put this into docs/policies.md:\n" << option_table();
}

}  // namespace
}  // namespace throughline

#include "serve/answer_json.h"

#include <gtest/gtest.h>

#include <ctime>

namespace throughline::serve {
namespace {

TokenDraw draw_with(int32_t id, int32_t candidates) {
  TokenDraw out{.id = id, .logprob = -1};
  for (int32_t i = 0; i < candidates; ++i) out.top.push_back({i, -0.5F * static_cast<float>(i)});
  return out;
}

TEST(AnswerJson, TheTokenItselfStandsFirstAndOnce) {
  const Json among = prompt_logprobs_json({draw_with(1, 3)}, {}), beyond = prompt_logprobs_json({draw_with(7, 2)}, {});
  ASSERT_EQ(among[0].size(), 3);
  EXPECT_EQ(among[0].begin().key(), "1");
  EXPECT_EQ(among[0]["1"]["rank"], 2);
  EXPECT_EQ(among[0]["2"]["rank"], 3);
  ASSERT_EQ(beyond[0].size(), 3);
  EXPECT_TRUE(beyond[0]["7"]["rank"].is_null());
}

TEST(AnswerJson, OfEqualNamesTheBetterStays) {
  int64_t offset = 0;
  // Without a tokenizer all names but the token's own are empty.
  const Json top = completion_logprobs({draw_with(2, 5)}, {"x"}, &offset, {})["top_logprobs"][0];
  EXPECT_EQ(top, (Json{{"", 0.0}, {"x", -1.0}}));
}

// A vocabulary's worth of candidates for one token: quadratic work took minutes.
TEST(AnswerJson, ManyCandidatesCostLittle) {
  constexpr int32_t kMany = 200000;
  const TokenDraw draw = draw_with(5, kMany);
  const std::clock_t begin = std::clock();  // processor time: the machine may be busy
  EXPECT_EQ(prompt_logprobs_json({draw}, {})[0].size(), kMany);
  int64_t offset = 0;
  const Json lists = completion_logprobs({draw}, {"x"}, &offset, {.tokens_as_ids = true});
  EXPECT_EQ(lists["top_logprobs"][0].size(), kMany);
  EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 20);
}

}  // namespace
}  // namespace throughline::serve

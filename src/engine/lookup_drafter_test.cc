#include "engine/lookup_drafter.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/rng.h"

namespace throughline {
namespace {

std::vector<int32_t> guesses(const LookupIndex& index, int64_t count) {
  std::vector<int32_t> out;
  while (index.match_length() > 0 && static_cast<int64_t>(out.size()) < count)
    out.push_back(index.guess(static_cast<int64_t>(out.size()), out));
  return out;
}

TEST(LookupIndex, GuessesWhatFollowedLastTime) {
  LookupIndex index(2, 4);
  for (const int32_t id : {1, 2, 3, 4, 5, 9, 2, 3, 7, 8, 6, 2}) index.push(id);
  EXPECT_EQ(index.match_length(), 0);  // "6 2" is new
  index.push(3);
  EXPECT_EQ(index.match_length(), 2);
  EXPECT_EQ(guesses(index, 3), (std::vector<int32_t>{7, 8, 6}));  // the newest of the two places
  EXPECT_FALSE(index.push(4).right);
  EXPECT_EQ(guesses(index, 2), (std::vector<int32_t>{5, 9}));  // "2 3 4" points to the older
  const auto guess = index.push(5);
  EXPECT_TRUE(guess.right);
  EXPECT_EQ(guess.length, 3);
  EXPECT_EQ(index.match_length(), 4);
}

TEST(LookupIndex, ALoopGoesOnForever) {
  LookupIndex index(2, 4);
  for (int i = 0; i < 11; ++i) index.push(i % 3);
  EXPECT_EQ(guesses(index, 8), (std::vector<int32_t>{2, 0, 1, 2, 0, 1, 2, 0}));
}

TEST(LookupIndex, ForgetsTheOldest) {
  LookupIndex index(3, 3);
  CounterStream stream(1, 0, RngPurpose::kTest);
  const std::vector<int32_t> phrase = {-1, -2, -3, -4};
  for (const int32_t id : phrase) index.push(id);
  int32_t fresh = 0;
  const auto say_phrase_after = [&](int64_t others) {
    for (int64_t i = 0; i < others; ++i) index.push(++fresh);
    for (int i = 0; i < 3; ++i) index.push(phrase[i]);
    const auto said = guesses(index, 1);
    index.push(phrase[3]);
    return said;
  };
  EXPECT_EQ(say_phrase_after(LookupIndex::kMostIds / 2), std::vector<int32_t>{-4});
  EXPECT_EQ(say_phrase_after(LookupIndex::kMostIds + 8), std::vector<int32_t>{});
  EXPECT_EQ(say_phrase_after(100), std::vector<int32_t>{-4});
}

// Every guess is a continuation of what stands there, and a match of n or more ids among the newest is found unless
// another n-gram took its slot.
RC_GTEST_PROP(LookupIndexProperty, IsASuffixMatch, ()) {
  const int64_t least = *rc::gen::inRange(1, 4), most = *rc::gen::inRange(static_cast<int>(least), 9);
  const int64_t vocab = *rc::gen::inRange(2, 40), count = *rc::gen::inRange(1, 1500);
  CounterStream stream(*rc::gen::arbitrary<uint64_t>(), 0, RngPurpose::kTest);
  LookupIndex index(least, most);
  std::vector<int32_t> all;
  int64_t matches = 0, found = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto expected = guesses(index, 1);
    const bool copies = !all.empty() && stream.integer(0, 3) > 0;
    all.push_back(copies ? all[all.size() - std::min<size_t>(all.size(), 7)]
                         : static_cast<int32_t>(stream.integer(0, vocab - 1)));
    const auto seen = index.push(all.back());
    RC_ASSERT((seen.length > 0) == !expected.empty());
    RC_ASSERT(seen.right == (!expected.empty() && expected[0] == all.back()));

    const auto n = static_cast<int64_t>(all.size());
    int64_t longest = 0;  // of all earlier places
    std::vector<bool> follows(vocab, false);
    for (int64_t end = 1; end < n; ++end) {
      int64_t length = 0;
      while (length < end && length < 32 && all[end - 1 - length] == all[n - 1 - length]) ++length;
      longest = std::max(longest, length);
      if (length >= std::min<int64_t>(index.match_length(), 32)) follows[all[end]] = true;
    }
    if (index.match_length() > 0) {
      RC_ASSERT(index.match_length() >= least);
      RC_ASSERT(std::min<int64_t>(index.match_length(), 32) <= longest);
      RC_ASSERT(follows[guesses(index, 1)[0]]);
    }
    matches += longest >= least ? 1 : 0;
    found += index.match_length() > 0 ? 1 : 0;
  }
  RC_ASSERT(found + 5 >= matches * 8 / 10);
}

TEST(DraftOdds, LearnByTheLengthOfTheMatch) {
  DraftOdds odds;
  for (int i = 0; i < 200; ++i) {
    odds.learn({.length = 20, .right = true});
    odds.learn({.length = 2, .right = false});
    odds.learn({.length = 0, .right = false});
  }
  EXPECT_GT(odds.chance(16), 0.99);
  EXPECT_LT(odds.chance(3), 0.01);
  EXPECT_EQ(odds.chance(5), DraftOdds().chance(5));
}

}  // namespace
}  // namespace throughline

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>

#include "think/loop_detector.h"
#include "think/trace_runner.h"

namespace throughline {
namespace {

constexpr int32_t kOpen = 1000, kClose = 1001, kEos = 1002;
using Ids = std::vector<int32_t>;

std::unique_ptr<const Environment> environment(const std::string& text) {
  auto spec = parse_spec(text, environment_infos(), "--think");
  EXPECT_TRUE(spec.ok()) << spec.error().line();
  auto made = make_environment(*spec, "--think");
  EXPECT_TRUE(made.ok()) << made.error().line();
  return std::move(made).value();
}

struct Scenario {
  std::string think = "longcot";
  int64_t max_tokens = 100;
  int64_t max_context = kUnlimited;
  bool opened = true;
  bool has_tags = true;
  Ids query = {1, 2, 3};
  Ids replacement = {7, 8};
};

// Samples next(i) for i = 0, 1, ... (counting samples, not tokens) until the trace ends.
template <typename Next>
Trace run(const Scenario& options, Next next) {
  const auto env = environment(options.think);
  TraceLimits limits{
      .max_tokens = options.max_tokens, .max_context = options.max_context, .eos_ids = {kEos}, .stop_ids = {1003}};
  TraceRunner runner(*env, options.query, limits,
                     options.has_tags ? std::optional<ThinkingIds>({kOpen, kClose}) : std::nullopt, options.opened,
                     options.replacement);
  for (int i = 0; !runner.finished(); ++i) {
    EXPECT_LT(i, 100000);
    runner.add_sampled(TokenDraw{.id = static_cast<int32_t>(next(i)), .logprob = -1});
  }
  return runner.take();
}

int counting(int i) { return i % 500; }

TEST(LongCot, ClosesInTimeForTheAnswer) {
  // max_tokens 100: reserve 25, so the close comes after 74 thinking tokens and 25 are left.
  const Trace trace = run({}, counting);
  EXPECT_EQ(trace.tokens(), 100);
  EXPECT_EQ(trace.thinking_from, 0);
  EXPECT_EQ(trace.thinking_to, 74);
  EXPECT_EQ(trace.answer_from, 75);
  EXPECT_EQ(trace.token_ids()[74], kClose);
  EXPECT_EQ(trace.chunks[0].forced, (std::vector<std::pair<int64_t, int64_t>>{{74, 75}}));
  EXPECT_EQ(trace.finish, FinishDetail::kMaxTokens);
}

TEST(LongCot, HonoursItsBudgetToTheToken) {
  for (int64_t budget : {0, 1, 5, 73, 74, 75, 1000}) {
    const Trace trace = run({.think = "longcot:max_thinking=" + std::to_string(budget)}, counting);
    EXPECT_EQ(trace.thinking_to - trace.thinking_from, std::min<int64_t>(budget, 74));
    EXPECT_EQ(trace.tokens(), 100);
  }
}

TEST(LongCot, LeavesAnAnswerWhateverTheBudget) {
  for (int64_t max_tokens = 2; max_tokens < 40; ++max_tokens) {
    for (bool opened : {true, false}) {
      const Trace trace =
          run({.max_tokens = max_tokens, .opened = opened}, [&](int i) { return !opened && i == 0 ? kOpen : i; });
      EXPECT_EQ(trace.tokens(), max_tokens);
      if (opened || max_tokens >= 3) {
        EXPECT_GT(trace.tokens(), trace.answer_from) << max_tokens << opened;
        EXPECT_GE(trace.answer_from, 1);
      }
    }
  }
  // One token only: the close takes it, and the ending says why there is no answer.
  EXPECT_EQ(run({.think = "longcot:reserve=0", .max_tokens = 1}, counting).finish, FinishDetail::kMaxThinking);
}

TEST(LongCot, WithoutTagsNothingIsForced) {
  const Trace trace = run({.think = "longcot:max_thinking=3", .has_tags = false}, counting);
  EXPECT_TRUE(trace.chunks[0].forced.empty());
  EXPECT_EQ(trace.thinking_from, -1);
  EXPECT_EQ(trace.answer_from, 0);
}

TEST(Endings, EachHasItsOwnDetail) {
  const auto ends = [](const Scenario& options, int32_t at5) {
    return run(options, [&](int i) { return i == 5 ? at5 : i; }).finish;
  };
  EXPECT_EQ(ends({}, kEos), FinishDetail::kEos);
  EXPECT_EQ(ends({}, 1003), FinishDetail::kStopToken);
  EXPECT_EQ(ends({}, 5), FinishDetail::kMaxTokens);
  EXPECT_EQ(ends({.max_context = 50}, 5), FinishDetail::kContext);
  EXPECT_EQ(ends({.think = "delethink:chunk=8,carry=4,max_chunks=3,head=2"}, 5), FinishDetail::kMaxChunks);
  EXPECT_EQ(run({.think = "longcot:loop=4"}, [](int i) { return i % 3; }).finish, FinishDetail::kLoop);
}

TEST(Endings, ContextCountsPositionsThatAreFed) {
  // 3 prompt ids at positions 0-2; ids 0..6 fed at 3..9; the 8th id is sampled but has no place.
  const Trace trace = run({.max_context = 10}, counting);
  EXPECT_EQ(trace.tokens(), 8);
  EXPECT_GT(trace.tokens(), trace.answer_from);  // the reserve counts from what really fits
}

TEST(Endings, EosIdIsKeptAndForcedIdsNeverEnd) {
  const Trace trace = run({.think = "force:min_thinking=10,max_forces=1", .replacement = {kEos, 8}}, [](int i) {
    return i == 2 ? kClose : i == 9 ? kEos : i;
  });
  EXPECT_EQ(trace.finish, FinishDetail::kEos);
  EXPECT_EQ(trace.token_ids(), (Ids{0, 1, kEos, 8, 3, 4, 5, 6, 7, 8, kEos}));
  EXPECT_EQ(trace.chunks[0].forced, (std::vector<std::pair<int64_t, int64_t>>{{2, 4}}));
}

TEST(BudgetForcing, ReplacesEarlyClosesAtMostKTimes) {
  const Trace trace =
      run({.think = "force:min_thinking=20,max_forces=2"}, [](int i) { return i % 4 == 3 ? kClose : i; });
  EXPECT_EQ(trace.token_ids()[3], 7);
  EXPECT_EQ(trace.token_ids()[8], 7);
  EXPECT_EQ(trace.thinking_to, 13);  // the third close is accepted: 3 + 2 + 3 + 2 + 3 thinking tokens before it
}

TEST(LoopAction, CloseForcesTheAnswer) {
  const Trace trace = run({.think = "longcot:loop=5,loop_action=close"}, [](int i) { return i % 2; });
  EXPECT_EQ(trace.thinking_to, 10);
  EXPECT_EQ(trace.token_ids()[10], kClose);
  EXPECT_EQ(trace.finish, FinishDetail::kLoop);  // the answer loops too, and there is nothing left to close
}

TEST(Delethink, ChunksFollowTheRule) {
  // Hand-worked: chunk 6, carry 4, head 2. inside: tail 2; on_top: tail 4.
  const Trace inside = run({.think = "delethink:chunk=6,carry=4,head=2,max_chunks=3", .has_tags = false}, counting);
  ASSERT_EQ(inside.chunks.size(), 3u);
  EXPECT_EQ(inside.chunks[0].token_ids, (Ids{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(inside.chunks[1].prompt_ids, (Ids{1, 2, 3, 0, 1, 4, 5}));
  EXPECT_EQ(inside.chunks[1].token_ids, (Ids{6, 7}));
  EXPECT_EQ(inside.chunks[2].prompt_ids, (Ids{1, 2, 3, 0, 1, 6, 7}));
  EXPECT_EQ(inside.finish, FinishDetail::kMaxChunks);
  const Trace on_top = run(
      {.think = "delethink:chunk=6,carry=4,head=2,max_chunks=3,head_placement=on_top", .has_tags = false}, counting);
  EXPECT_EQ(on_top.chunks[1].prompt_ids, (Ids{1, 2, 3, 0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(on_top.chunks[2].prompt_ids, (Ids{1, 2, 3, 0, 1, 4, 5, 6, 7}));  // reaches back into the previous tail
}

TEST(Delethink, TheLastChunkClosesInTime) {
  const Trace trace =
      run({.think = "delethink:chunk=40,carry=20,head=4,max_chunks=3,reserve=6", .max_tokens = 1000}, counting);
  EXPECT_EQ(trace.tokens(), 80);
  EXPECT_EQ(trace.thinking_to, 80 - 6 - 1);
  EXPECT_EQ(trace.chunks[2].forced, (std::vector<std::pair<int64_t, int64_t>>{{13, 14}}));
}

TEST(Delethink, HonoursABudgetOverAllChunks) {
  for (const int64_t budget : {0, 1, 39, 40, 41, 60, 72, 73}) {
    const Trace trace = run(
        {.think = "delethink:chunk=40,carry=20,head=4,max_chunks=3,reserve=6,max_thinking=" + std::to_string(budget),
         .max_tokens = 1000},
        counting);
    EXPECT_EQ(trace.thinking_to - trace.thinking_from, budget);
    EXPECT_EQ(trace.tokens(), 80);
    EXPECT_EQ(trace.token_ids()[static_cast<size_t>(budget)], kClose);
  }
}

TEST(Delethink, MaxTokensCapsTheSum) {
  const Trace trace =
      run({.think = "delethink:chunk=40,carry=20,head=4,max_chunks=9", .max_tokens = 70, .has_tags = false}, counting);
  EXPECT_EQ(trace.tokens(), 70);
  EXPECT_EQ(trace.finish, FinishDetail::kMaxTokens);
  EXPECT_EQ(trace.chunks.size(), 3u);
}

RC_GTEST_PROP(Delethink, EqualsANaiveLoop, ()) {
  const int chunk = *rc::gen::inRange(2, 40), carry = *rc::gen::inRange(0, chunk),
            head = *rc::gen::inRange(0, carry + 1);
  const int chunks = *rc::gen::inRange(1, 6);
  const bool inside = *rc::gen::arbitrary<bool>();
  const Trace trace = run({.think = "delethink:chunk=" + std::to_string(chunk) + ",carry=" + std::to_string(carry) +
                                    ",head=" + std::to_string(head) + ",max_chunks=" + std::to_string(chunks) +
                                    ",head_placement=" + (inside ? "inside" : "on_top"),
                           .max_tokens = 100000,
                           .has_tags = false},
                          counting);
  int sampled = 0;
  Ids first, tail;
  RC_ASSERT(static_cast<int>(trace.chunks.size()) == chunks);
  for (int c = 0; c < chunks; ++c) {
    Ids prompt = {1, 2, 3};
    if (c > 0) prompt.insert(prompt.end(), first.begin(), first.begin() + head);
    if (c > 0) prompt.insert(prompt.end(), tail.begin(), tail.end());
    RC_ASSERT(trace.chunks[c].prompt_ids == prompt);
    Ids response(c == 0 ? chunk : chunk - carry);
    for (auto& id : response) id = counting(sampled++);
    RC_ASSERT(trace.chunks[c].token_ids == response);
    if (c == 0) first = response;
    tail.insert(tail.end(), response.begin(), response.end());
    const int keep = std::min<int>(tail.size(), inside ? carry - head : carry);
    tail.erase(tail.begin(), tail.end() - keep);
  }
}

RC_GTEST_PROP(LoopDetector, EqualsASearch, ()) {
  const int repeats = *rc::gen::inRange(2, 5);
  const auto ids = *rc::gen::container<std::vector<int32_t>>(rc::gen::inRange(0, 3));
  LoopDetector detector(repeats);
  for (size_t end = 1; end <= ids.size(); ++end) {
    bool expected = false;
    for (size_t period = 1; period * repeats <= end; ++period) {
      bool same = true;
      for (size_t i = end - period * repeats; i + period < end; ++i) same &= ids[i] == ids[i + period];
      expected |= same;
    }
    RC_ASSERT(detector.push(ids[end - 1]) == expected);
  }
}

TEST(LoopDetector, LongPeriodsAndReset) {
  LoopDetector detector(3);
  int found_at = -1;
  for (int i = 0; i < 4000 && found_at < 0; ++i) {
    if (detector.push(i % 1024)) found_at = i;
  }
  EXPECT_EQ(found_at, 3 * 1024 - 1);
  LoopDetector beyond(2);
  for (int i = 0; i < 5000; ++i) EXPECT_FALSE(beyond.push(i % 1025));
  detector.reset();
  EXPECT_FALSE(detector.push(5));
  EXPECT_FALSE(detector.push(5));
  EXPECT_TRUE(detector.push(5));
}

TEST(TraceRunner, FreeTokensAreThoseUntilTheRulesAct) {
  for (const char* think :
       {"longcot", "longcot:max_thinking=25", "longcot:reserve=9", "longcot:reserve=0,max_thinking=7",
        "force:min_thinking=10,max_thinking=33", "delethink:chunk=40,carry=10,head=2,max_chunks=3,reserve=12",
        "delethink:chunk=30,carry=10,head=2,max_chunks=9,max_thinking=44"}) {
    for (const int64_t context : {kUnlimited, int64_t{60}}) {
      const auto env = environment(think);
      TraceRunner runner(*env, {1, 2, 3}, {.max_tokens = 90, .max_context = context, .eos_ids = {kEos}},
                         ThinkingIds{kOpen, kClose}, /*opened_by_prompt=*/true, {7, 8});
      int sampled = 0;
      while (!runner.finished()) {
        const int64_t free = runner.free_tokens(), chunk = runner.chunk_index();
        ASSERT_GT(free, 0);
        for (int64_t i = 1; i <= free; ++i) {
          const int64_t before = runner.tokens();
          runner.add_sampled({.id = counting(sampled++)});
          const bool acted = runner.finished() || runner.chunk_index() != chunk || runner.tokens() != before + 1;
          ASSERT_EQ(acted, i == free) << think << " at " << runner.tokens();
        }
      }
    }
  }
}

TEST(EnvironmentSpecs, WrongOnesAreNamed) {
  const auto line = [](const std::string& text) {
    auto spec = parse_spec(text, environment_infos(), "--think");
    if (!spec.ok()) return spec.error().line();
    auto made = make_environment(*spec, "--think");
    return made.ok() ? std::string("accepted") : made.error().line();
  };
  EXPECT_EQ(
      line("delethink:chunk=10,carry=10"),
      "--think: carry 10 is not less than chunk 10; a later chunk needs room for new tokens: use carry = chunk / 2");
  EXPECT_EQ(line("delethink:chunk=100,carry=20,head=21"),
            "--think: head 21 is more than carry 20; use a smaller head or a larger carry");
  EXPECT_EQ(line("thinkhard"), "--think: unknown method \"thinkhard\"; use one of: longcot, delethink, force");
  EXPECT_NE(line("longcot:loop=1"), "accepted");
  EXPECT_NE(line("force"), "accepted");
}

}  // namespace
}  // namespace throughline

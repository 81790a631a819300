#include "cli/trace_text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cli/terminal.h"
#include "cli/trace_filter.h"

namespace throughline {
namespace {

// Ids are letters: 'a' is 97. Query "q", head 2, tail 3.
TraceLineChunk chunk(const std::string& prompt, const std::string& text, int64_t carried, int64_t head) {
  TraceLineChunk out{.text = text, .carried_tokens = carried, .head_tokens = head, .weight_version = 3};
  for (const char c : prompt) out.prompt_ids.push_back(c);
  for (size_t i = 0; i < text.size(); ++i) {
    out.token_ids.push_back(text[i]);
    out.token_ends.push_back(static_cast<int64_t>(i + 1));
  }
  return out;
}

TraceLine example() {
  TraceLine trace;
  trace.step = 3;
  trace.index = 17;
  trace.group = 2;
  trace.task = "iterate_map";
  trace.prompt = "0>1 1>0;\nfrom 0";
  trace.gold = "1";
  trace.reward = 1;
  trace.advantage = 0.7071;
  trace.verdict = "right";
  trace.finish_reason = "stop";
  trace.finish_detail = "eos";
  trace.tokens = 9;
  trace.weight_version = 3;
  trace.chunks = {chunk("q", "abcd", 0, 0), chunk("qabbcd", "e", 5, 2), chunk("qabcde", "fgh!", 5, 2)};
  trace.chunks[2].forced = {{1, 3}};
  trace.chunks[2].weight_version = 4;
  return trace;
}

std::string rendered(const TraceLine& trace, const TraceTextOptions& options) {
  std::string out;
  for (const StyledLine& line : render_trace(trace, options).lines) out += plain_text(line) + "\n";
  return out;
}

TEST(TraceText, ChunksCarriedTokensAndForcedOnes) {
  EXPECT_EQ(rendered(example(), {.columns = 60}), R"(step 3, trace 17, group 2  iterate_map
reward 1.000  advantage +0.707  right  stop (eos)  9 tokens 
in 3 chunks  weights 3
  gold  1
prompt  0>1 1>0;
prompt  from 0

── chunk 1 of 3 ── prompt 1, then 4 tokens ─────────────────
     │ abcd

── chunk 2 of 3 ── prompt 1 + head 2 + tail 3, then 1 token 
head ┊ ab
tail ┊ bcd
     │ e

── chunk 3 of 3 ── prompt 1 + head 2 + tail 3, then 4 tokens
head ┊ ab
tail ┊ cde
     │ f⟪gh⟫!
)");
  EXPECT_EQ(render_trace(example(), {}).chunk_lines.size(), 3u);
}

TEST(TraceText, TheTailReachesBackOverChunks) {
  const CarriedText carried = carried_text(example(), 2);
  EXPECT_TRUE(carried.known);
  EXPECT_EQ(carried.head, "ab");
  EXPECT_EQ(carried.tail, "cde");  // from two chunks
}

TEST(TraceText, WhatDoesNotAgreeIsShownAsIds) {
  TraceLine trace = example();
  trace.chunks[2].prompt_ids.back() = 'x';
  EXPECT_FALSE(carried_text(trace, 2).known);
  EXPECT_NE(rendered(trace, {.columns = 60}).find("tail ┊ 99 100 120\n"), std::string::npos);
  trace = example();
  trace.chunks[0].token_ends.clear();  // another writer
  EXPECT_FALSE(carried_text(trace, 1).known);
  trace.chunks[0].text.clear();
  EXPECT_NE(rendered(trace, {.columns = 60}).find("     │ 97 98 99 100\n"), std::string::npos);
}

TEST(TraceText, AHostileLineIsCut) {
  TraceLine trace = example();
  trace.chunks.resize(1);
  trace.chunks.reserve(20001);
  TraceLineChunk& first = trace.chunks[0];
  first.token_ids = {'x'};
  first.text = std::string(1 << 20, '\n');
  first.token_ends = {1 << 20};
  for (int i = 0; i < 20000; ++i) trace.chunks.push_back(chunk("qx", "x", 1, 0));  // each carries that one token
  const TraceText text = render_trace(trace, {});
  EXPECT_EQ(text.lines.size(), 400001u);
  EXPECT_EQ(plain_text(text.lines.back()), "cut here, after 400000 lines");

  first.token_ids.clear();  // nothing to take from, however far back
  first.token_ends.clear();
  first.text.clear();
  for (TraceLineChunk& later : trace.chunks) later.token_ids.clear();
  EXPECT_FALSE(carried_text(trace, trace.chunks.size() - 1).known);
}

TEST(TraceText, AsciiMarks) {
  const std::string out = rendered(example(), {.columns = 60, .ascii = true});
  EXPECT_NE(out.find("-- chunk 1 of 3 -- prompt 1"), std::string::npos);
  EXPECT_NE(out.find("     | f[[gh]]!"), std::string::npos);
  for (const char c : out) EXPECT_LT(static_cast<unsigned char>(c), 0x80);
}

TEST(TraceText, ListLinesAreOneWidth) {
  EXPECT_EQ(plain_text(trace_list_heading(90)),
            "  step  trace  group   reward advantage  verdict   ended by       tokens  prompt          ");
  EXPECT_EQ(plain_text(trace_list_line(example(), 90)),
            "     3     17      2    1.000    +0.707  right     eos                 9  0>1 1>0; from 0 ");
}

RC_GTEST_PROP(TraceText, NoLineIsWiderThanAsked, (const std::string& raw)) {
  TraceLine trace = example();
  trace.prompt = trace.verdict = trace.finish_detail = trace.task = raw;
  trace.chunks[0].text = raw;
  trace.chunks[0].token_ends.clear();
  trace.reward = -1e300;
  const int columns = *rc::gen::inRange(30, 120);
  for (const StyledLine& line : render_trace(trace, {.columns = columns, .ids = true}).lines) {
    RC_ASSERT(width_of(line) <= columns);
  }
  RC_ASSERT(width_of(trace_list_line(trace, columns)) == columns);
  RC_ASSERT(width_of(trace_list_heading(columns)) == columns);
}

std::vector<TraceEntry> entries() {
  std::vector<TraceEntry> out(4);
  const double rewards[] = {0, 1, 0.5, 1};
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].summary.step = static_cast<int64_t>(1 + i / 2);
    out[i].summary.reward = rewards[i];
    out[i].summary.tokens = static_cast<int64_t>(100 * i);
    out[i].summary.verdict = rewards[i] == 1 ? "right" : "wrong";
    out[i].summary.finish_reason = "length";
    out[i].summary.finish_detail = i == 3 ? "loop" : "max_chunks";
  }
  return out;
}

std::vector<size_t> selected(const std::string& filter, TraceOrder order = TraceOrder::kFile, bool reversed = false) {
  const auto parsed = parse_trace_filter(filter, "filter");
  EXPECT_TRUE(parsed.ok()) << parsed.error().line();
  return select_traces(entries(), *parsed, order, reversed);
}

using Indices = std::vector<size_t>;

TEST(TraceFilter, SelectsAndSorts) {
  EXPECT_EQ(selected(""), (Indices{0, 1, 2, 3}));
  EXPECT_EQ(selected(" step=2  reward=0.6.. "), (Indices{3}));
  EXPECT_EQ(selected("reward=..0.5"), (Indices{0, 2}));
  EXPECT_EQ(selected("verdict=right finish=loop"), (Indices{3}));
  EXPECT_EQ(selected("finish=length tokens=100..200"), (Indices{1, 2}));
  EXPECT_EQ(selected("", TraceOrder::kTokens), (Indices{3, 2, 1, 0}));
  EXPECT_EQ(selected("", TraceOrder::kReward), (Indices{1, 3, 2, 0}));
  EXPECT_EQ(selected("", TraceOrder::kReward, true), (Indices{0, 2, 3, 1}));
}

TEST(TraceFilter, ErrorsSayHow) {
  const auto error = [](const std::string& text) { return parse_trace_filter(text, "filter").error().line(); };
  EXPECT_EQ(error("step=x"), "filter: step: \"x\" is not a range; write 3, 3..5, 3.. or ..5");
  for (const char* bad : {"step=", "step", "step=..", "step=5..3", "reward=nan", "reward=1..2..3"}) {
    EXPECT_NE(error(bad).find("is not a range"), std::string::npos) << bad;
  }
  EXPECT_NE(error("length=3").find("one of: step, trace"), std::string::npos);
  EXPECT_NE(error("verdict=").find("cannot read"), std::string::npos);
}

TEST(TraceFilter, OrdersHaveNames) {
  EXPECT_EQ(find_order("length"), TraceOrder::kTokens);
  EXPECT_EQ(find_order("size"), std::nullopt);
}

}  // namespace
}  // namespace throughline

#include "cache/sequence_cache.h"

#include <ATen/ops/cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

TEST(SequenceCache, FullKeepsEverything) {
  const Shape shape = shapes()[1];
  EXPECT_EQ(policy_of("full"), nullptr);
  auto pool = make_pool(shape);
  Subject subject(shape, pool.get(), nullptr);
  subject.prefill(5);
  for (int step = 1; step <= 40; ++step) {
    subject.feed({TokenKind::kSampled});
    EXPECT_FALSE(subject.cache.due());
  }
  const CacheStats& stats = subject.cache.stats();
  EXPECT_EQ(subject.cache.cached_tokens(), shape.prompt + 40);
  EXPECT_EQ(subject.cache.kept_positions(1, 2).back(), shape.prompt + 39);
  EXPECT_EQ(stats.peak_tokens, shape.prompt + 40);
  EXPECT_EQ(stats.attended_sum, 40 * shape.prompt + 40 * 41 / 2);
  EXPECT_EQ(stats.compressions + stats.evicted_tokens, 0);
  EXPECT_TRUE(subject.cache.pages_are_plain());
}

TEST(SequenceCache, WhatNeverLosesATokenEqualsFullBitForBit) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kChar}) {
    Shape shape = shapes()[1];
    shape.dtype = dtype;
    shape.page_tokens = dtype == at::kChar ? 16 : shape.page_tokens;
    for (const std::string spec :
         {"rpc:interval=8,ratio=1,window=3", "rpc:interval=8,ratio=1,window=3,aggregation=group,mode=reference",
          "random:budget=500,interval=4", "recency:budget=500", "snapkv:budget=500", "rkv:budget=500",
          "h2o:budget=500,recent=4", "tova:budget=500", "streaming:budget=500", "streaming:budget=500,rotate=cache"}) {
      SCOPED_TRACE(spec);
      // Unrotated keys are rounded to int8 before they are rotated, the others behind it.
      if (dtype == at::kChar && spec.find("rotate=cache") != std::string::npos) continue;
      auto pool = make_pool(shape);
      auto policy = policy_of(spec);
      Subject subject(shape, pool.get(), policy.get()), full(shape, pool.get(), nullptr);
      subject.prefill();
      full.prefill();
      for (int step = 1; step <= 30; ++step) {
        ASSERT_TRUE(same(subject.feed({TokenKind::kSampled}), full.feed({TokenKind::kSampled}))) << step;
        subject.event_if_due();
      }
      EXPECT_EQ(subject.cache.stats().evicted_tokens, 0);
      EXPECT_EQ(subject.cache.stats().compressions, spec[1] == 'p' ? 3 : 0);
      ASSERT_EQ(subject.cache.pages().size(), full.cache.pages().size());
      if (spec.find("rotate=cache") == std::string::npos) {
        for (int64_t layer = 0; layer < shape.layers; ++layer) {
          const auto keys = ops::KvSide::kKeys;
          ASSERT_TRUE(used_slots(subject, layer, keys).equal(used_slots(full, layer, keys)));
        }
      }
    }
  }
}

TEST(SequenceCache, AnEventMovesOnlySurvivorsFromBeyondTheEnd) {
  const Shape shape = shapes()[1];
  auto pool = make_pool(shape);
  auto policy = policy_of("tova:budget=28,protect=first:2");
  Subject subject(shape, pool.get(), policy.get());
  subject.prefill();
  for (int step = 0; step < 40; ++step) {
    subject.feed({TokenKind::kSampled});
    if (!subject.cache.due()) continue;
    std::vector<std::vector<std::byte>> before;
    for (const int32_t page : subject.cache.pages()) before.push_back(bytes_of(*pool, page));
    const std::vector<int32_t> pages = subject.cache.pages();
    subject.event_if_due();
    int64_t changed = 0;
    for (size_t i = 0; i < subject.cache.pages().size(); ++i) {
      const auto after = bytes_of(*pool, subject.cache.pages()[i]);
      const int64_t token_bytes = shape.head_dim * 4;
      for (size_t at = 0; at < after.size(); at += token_bytes) {
        changed += std::memcmp(after.data() + at, before[i].data() + at, token_bytes) != 0;
      }
    }
    EXPECT_LE(changed, shape.layers * shape.kv_heads * 2);  // one token, K and V
  }
}

TEST(SequenceCache, ReplayGivesTheSameSlotsAndBits) {
  for (const std::string& spec : small_policies()) {
    SCOPED_TRACE(spec);
    const Shape shape = shapes()[1];
    auto pool_a = make_pool(shape), pool_b = make_pool(shape);
    auto policy = policy_of(spec);
    Subject a(shape, pool_a.get(), policy.get()), b(shape, pool_b.get(), policy.get());
    a.prefill(4);
    std::vector<TokenKind> fed;  // after the prompt
    for (int step = 1; step <= 60; ++step) {
      fed.push_back(step % 10 == 4 ? TokenKind::kForced : TokenKind::kSampled);
      a.feed({fed.back()});
      a.event_if_due();
    }
    ASSERT_GE(a.cache.records().size(), 4U);
    b.prefill(9);
    size_t next = 0;
    for (const EvictionRecord& record : a.cache.records()) {  // whole segments between events at once
      const size_t end = static_cast<size_t>(record.tokens - shape.prompt);
      ASSERT_GT(end, next);
      b.feed(std::vector<TokenKind>(fed.begin() + next, fed.begin() + end));
      ASSERT_TRUE(b.cache.due());
      b.cache.replay(record);
      next = end;
    }
    if (next < fed.size()) b.feed(std::vector<TokenKind>(fed.begin() + next, fed.end()));
    expect_same_cache(a, b);
    EXPECT_EQ(a.cache.stats().attended_sum, b.cache.stats().attended_sum);
    EXPECT_EQ(a.cache.stats().decode_steps, b.cache.stats().decode_steps);
    EXPECT_EQ(a.cache.stats().evicted_tokens, b.cache.stats().evicted_tokens);
    for (int step = 0; step < 30; ++step) {  // rings, sums and clocks agree: the next events are the same
      const auto x = a.feed({TokenKind::kSampled}), y = b.feed({TokenKind::kSampled});
      ASSERT_TRUE(same(x, y));
      ASSERT_EQ(a.event_if_due(), b.event_if_due());
    }
    expect_same_cache(a, b);
    EXPECT_EQ(a.cache.records().back().evicted, b.cache.records().back().evicted);
  }
}

TEST(SequenceCache, ASliceThatEndsInASampledTokenIsLikeSingleRows) {
  for (const std::string& spec : small_policies()) {
    SCOPED_TRACE(spec);
    const Shape shape = shapes()[1];
    auto pool = make_pool(shape);
    auto policy = policy_of(spec);
    Subject a(shape, pool.get(), policy.get()), b(shape, pool.get(), policy.get());
    a.prefill();
    const int64_t forced = 25;  // enough for the per-step policies to be over budget at the sampled token
    for (int64_t i = 0; i < forced; ++i) a.feed({TokenKind::kForced});
    b.feed(std::vector<TokenKind>(shape.prompt, TokenKind::kPrompt));
    std::vector<TokenKind> slice(forced, TokenKind::kForced);
    slice.push_back(TokenKind::kSampled);
    a.feed({TokenKind::kSampled});
    b.feed(slice);
    EXPECT_EQ(a.event_if_due(), b.event_if_due());
    expect_same_cache(a, b);
  }
}

TEST(SequenceCache, ALoweredBudgetIsTheSmallerBudgetFromThenOn) {
  struct Case {
    std::string spec, rest;
    bool goes_on_alike = true;
  };
  const Case cases[] = {{"snapkv", "interval=10,window=4,protect=first:2"},
                        {"snapkv", "form=2,interval=10,window=4,kernel=3"},
                        {"rkv", "interval=10,window=4"},
                        {"random", "interval=10,window=4,protect=none", false},  // draws are numbered by own events
                        {"recency", "protect=none"},
                        {"h2o", "recent=5,protect=none"},
                        {"tova", "protect=first:1"},
                        {"streaming", "sinks=2,protect=none"},
                        {"streaming", "sinks=2,rotate=cache,protect=none"},
                        {"rpc", "interval=5,ratio=1,window=5,kernel=3"}};
  for (const auto& [method, rest, goes_on_alike] : cases) {
    SCOPED_TRACE(method + ":" + rest);
    Shape shape = shapes()[1];
    shape.prompt = 3;
    shape.page_tokens = 4;
    auto pool = make_pool(shape);
    const auto wide = policy_of(method + ":budget=500,min_budget=12," + rest);
    const auto tight = policy_of(method + ":budget=12," + rest);
    EXPECT_EQ(wide->least_budget(), 12);
    EXPECT_EQ(tight->least_budget(), 0);
    Subject a(shape, pool.get(), wide.get()), b(shape, pool.get(), tight.get()), c(shape, pool.get(), wide.get());
    a.prefill();
    b.prefill();
    EXPECT_EQ(a.cache.pages_to_gain(12), 0);  // nothing was sampled yet
    for (int step = 1; step <= 10; ++step) {
      a.feed({TokenKind::kSampled});
      b.feed({TokenKind::kSampled});
      EXPECT_EQ(b.cache.due(), step == 10);
    }
    ASSERT_EQ(a.cache.pages_to_gain(12), 1);
    const int64_t used = pool->used_pages();
    a.random.counter = 10;  // as b's event has it
    a.cache.lower_budget(12, a.random);
    EXPECT_EQ(pool->used_pages(), used - 1);
    EXPECT_EQ(a.cache.pages_to_gain(12), 0);
    EXPECT_TRUE(b.event_if_due());
    expect_same_cache(a, b);
    EXPECT_EQ(a.cache.records()[0].lowered_to, 12);
    EXPECT_EQ(a.cache.stats().lowered, 1);
    for (int step = 11; step <= 40; ++step) {
      const auto x = a.feed({TokenKind::kSampled}), y = b.feed({TokenKind::kSampled});
      a.event_if_due();
      b.event_if_due();
      ASSERT_TRUE(same(x, y) || !goes_on_alike) << step;
      EXPECT_LE(a.cache.cached_tokens(), 12 + 10);
    }
    if (goes_on_alike) expect_same_cache(a, b);
    EXPECT_EQ(a.cache.stats().lowest_budget, 12);

    c.prefill();
    size_t next = 0;
    for (int step = 1; step <= 40; ++step) {
      c.feed({TokenKind::kSampled});
      while (next < a.cache.records().size() && a.cache.records()[next].tokens == c.cache.next_position())
        c.cache.replay(a.cache.records()[next++]);
    }
    expect_same_cache(a, c);
    for (int step = 0; step < 20; ++step) {  // the limit came back with the record
      ASSERT_TRUE(same(a.feed({TokenKind::kSampled}), c.feed({TokenKind::kSampled})));
      ASSERT_EQ(a.event_if_due(), c.event_if_due());
    }
    expect_same_cache(a, c);
  }
  EXPECT_FALSE(make_policy(parse_spec("tova:budget=10,min_budget=11", policy_infos(), "kv").value(), "kv").ok());
}

TEST(SequenceCache, SyntheticFillStandsInMidCycle) {
  Shape shape = shapes()[1];
  shape.prompt = 20;
  auto pool = make_pool(shape);
  const auto filled = [&](const std::string& spec, int64_t depth) {
    auto policy = policy_of(spec);
    Subject subject(shape, pool.get(), policy.get());
    EXPECT_LE(subject.cache.pages_for_synthetic(depth), pool->free_pages());
    subject.cache.fill_synthetic(depth, 5);
    EXPECT_EQ(subject.cache.next_position(), depth);
    const int64_t cached = subject.cache.cached_tokens();
    const auto kept = subject.cache.kept_positions(1, 0);
    EXPECT_EQ(static_cast<int64_t>(kept.size()), cached);
    EXPECT_EQ(std::set<int32_t>(kept.begin(), kept.end()).size(), kept.size());
    EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
    EXPECT_EQ(kept.back(), depth - 1);
    int64_t steps = 0;
    for (bool fired = false; policy != nullptr && !fired && steps < 100; ++steps) {  // the next event works
      subject.feed({TokenKind::kSampled});
      fired = subject.event_if_due();
    }
    return std::make_pair(cached, steps);
  };
  // rpc: 13 events by decoded 215 (the last at 6 + 13 * 16 = 214), each adds 4; half an interval after it.
  EXPECT_EQ(filled("rpc:interval=16,ratio=4,window=6", 235), std::make_pair(int64_t{20 + 13 * 4 + 6 + 8}, int64_t{8}));
  EXPECT_EQ(filled("snapkv:budget=48,interval=16", 500), std::make_pair(int64_t{48 + 8}, int64_t{8}));
  EXPECT_EQ(filled("h2o:budget=48,recent=8", 500), std::make_pair(int64_t{48}, int64_t{1}));
  EXPECT_EQ(filled("tova:budget=48", 500), std::make_pair(int64_t{48}, int64_t{1}));
  EXPECT_EQ(filled("streaming:budget=48,rotate=cache", 500), std::make_pair(int64_t{48}, int64_t{1}));
  EXPECT_EQ(filled("random:budget=48,interval=16,window=8", 40).first, 40);  // nothing has gone yet
  EXPECT_EQ(filled("full", 500).first, 500);
  EXPECT_EQ(filled("rpc:interval=16,ratio=1,window=6", 235).first, 235);  // nothing goes: never more than the depth
}

TEST(SequenceCache, MixedBatchIsLikeEachAlone) {
  const std::vector<std::string> specs = small_policies();
  Shape shape = shapes()[1];
  auto together = make_pool(shape), apart = make_pool(shape);
  std::vector<std::unique_ptr<const EvictionPolicy>> policies;
  std::vector<Subject> batch, alone;
  for (size_t i = 0; i < specs.size(); ++i) {
    policies.push_back(policy_of(specs[i]));
    shape.seed = 50 + i;
    shape.prompt = 9 + static_cast<int64_t>(i);
    batch.emplace_back(shape, together.get(), policies.back().get());
    alone.emplace_back(shape, apart.get(), policies.back().get());
  }
  for (int step = 0; step < 45; ++step) {
    std::vector<StepSequence> members;
    std::vector<std::vector<TokenKind>> kinds;
    for (Subject& s : batch) {
      kinds.push_back(step == 0 ? std::vector<TokenKind>(s.shape.prompt, TokenKind::kPrompt)
                                : std::vector<TokenKind>{TokenKind::kSampled});
      s.cache.reserve(static_cast<int64_t>(kinds.back().size()));
      members.push_back({&s.cache, kinds.back()});
    }
    StepAttention attention(members, frequencies(shape.head_dim), shape.scale());
    std::vector<at::Tensor> out;
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      std::vector<at::Tensor> q, k, v;
      for (size_t i = 0; i < batch.size(); ++i) {
        const int64_t first = batch[i].cache.next_position(), rows = static_cast<int64_t>(kinds[i].size());
        q.push_back(projections(batch[i].shape, 'q', layer, first, rows));
        k.push_back(projections(batch[i].shape, 'k', layer, first, rows));
        v.push_back(projections(batch[i].shape, 'v', layer, first, rows));
      }
      out.push_back(attention.attend(static_cast<int>(layer), at::cat(q), at::cat(k), at::cat(v)));
    }
    int64_t row = 0;
    for (size_t i = 0; i < batch.size(); ++i) {
      const int64_t rows = static_cast<int64_t>(kinds[i].size());
      batch[i].cache.commit(kinds[i]);
      const auto expected = alone[i].feed(kinds[i]);
      for (int64_t layer = 0; layer < shape.layers; ++layer) {
        ASSERT_TRUE(out[layer].narrow(0, row, rows).equal(expected[layer])) << specs[i] << " step " << step;
      }
      row += rows;
      ASSERT_EQ(batch[i].event_if_due(), alone[i].event_if_due());
    }
  }
  for (size_t i = 0; i < batch.size(); ++i) expect_same_cache(batch[i], alone[i]);
}

// Rows that are never committed (rejected drafts) leave no trace: outputs, events and sets are those of feeding one by
// one, whatever else was appended behind. Forced tokens in between bring events that were not foreseen.
TEST(SequenceCache, UncommittedRowsLeaveNothing) {
  const std::vector<std::string> specs = small_policies();
  int64_t events = 0;
  for (uint64_t seed = 0; seed < 30 * specs.size(); ++seed) {
    const std::string& spec = specs[seed % specs.size()];
    const auto policy = policy_of(spec);
    if (policy->needs().step_attention || policy->needs().attention_sums) continue;
    Shape shape = shapes()[1];
    auto pools = std::make_pair(make_pool(shape), make_pool(shape));
    Subject plain(shape, pools.first.get(), policy.get()), drafting(shape, pools.second.get(), policy.get());
    plain.prefill();
    drafting.prefill();
    CounterStream stream(seed, 0, RngPurpose::kTest);
    while (plain.cache.decoded() < 30) {
      SequenceCache& cache = drafting.cache;
      const int64_t rows = cache.rows_to_event(stream.integer(1, 1 + kMaxUncommittedRows));
      const int64_t accepted = stream.integer(1, rows);
      const int64_t first = cache.next_position();
      cache.reserve(rows);
      const std::vector<TokenKind> kinds(rows, TokenKind::kSampled);
      StepAttention attention({{&cache, kinds}}, frequencies(shape.head_dim), shape.scale());
      std::vector<at::Tensor> out;
      for (int64_t layer = 0; layer < shape.layers; ++layer) {
        // Drafts that turn out wrong are other tokens: their projections are those of positions far away.
        const auto fed = [&](char what) {
          return at::cat({projections(shape, what, layer, first, accepted),
                          projections(shape, what, layer, first + 500, rows - accepted)});
        };
        out.push_back(attention.attend(static_cast<int>(layer), fed('q'), fed('k'), fed('v')));
      }
      for (int64_t row = 0; row < accepted; ++row) {
        const auto expected = plain.feed({TokenKind::kSampled});
        for (int64_t layer = 0; layer < shape.layers; ++layer)
          ASSERT_TRUE(out[layer].narrow(0, row, 1).equal(expected[layer])) << spec << " at " << first + row;
        cache.commit(std::array{TokenKind::kSampled});
        const bool fired = plain.event_if_due();
        ASSERT_EQ(drafting.event_if_due(), fired) << spec;
        ASSERT_TRUE(!fired || row == rows - 1) << spec;
        events += fired ? 1 : 0;
      }
      cache.release_uncommitted();
      if (stream.integer(0, 1) == 0) {
        const std::vector<TokenKind> forced(stream.integer(1, 9), TokenKind::kForced);
        plain.feed(forced);
        drafting.feed(forced);
      }
      ASSERT_EQ(pools.second->used_pages(), pools.first->used_pages());
    }
    expect_same_cache(plain, drafting);
  }
  EXPECT_GT(events, 300);
}

}  // namespace
}  // namespace throughline::harness

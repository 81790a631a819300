#include "cache/sequence_cache.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cstring>
#include <optional>

#include "cache/policy_harness.h"

namespace throughline::harness {
namespace {

// Every policy with small options; budgets that the tests below reach.
std::vector<std::string> small_policies() {
  return {"rpc:interval=12,ratio=3,window=5,kernel=3",
          "rpc:interval=12,ratio=3,window=5,aggregation=group,mode=reference,protect=none",
          "rpc:interval=9,ratio=1.5,window=4,budget=30,protect=first:4",
          "random:budget=30,interval=7,window=4,protect=none",
          "random:budget=30,interval=7,window=4,shared=true",
          "recency:budget=26",
          "snapkv:budget=30,interval=8,window=4,protect=first:3",
          "snapkv:form=2,budget=30,interval=8,window=4,kernel=3,protect=none",
          "rkv:budget=30,interval=8,window=4",
          "h2o:budget=28,recent=5,protect=none",
          "tova:budget=28,protect=first:2",
          "streaming:budget=24,protect=none",
          "streaming:budget=24,rotate=cache"};
}

std::vector<std::byte> bytes_of(const PagePool& pool, int32_t page) {
  std::vector<std::byte> out(pool.shape().bytes_per_page());
  pool.read_page(page, out.data());
  return out;
}

bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].equal(b[i])) return false;
  }
  return a.size() == b.size();
}

// fp32 [kv_heads, cached, head_dim] of K or V, in slot order.
at::Tensor used_slots(const Subject& s, int64_t layer, ops::KvSide side) {
  return ops::gather_slots(s.pool->layer(layer), side, s.cache.pages(),
                           at::arange(s.cache.cached_tokens(), at::kLong).unsqueeze(0));
}

// The used slots of two caches hold the same bits for the same positions in the same slots.
void expect_same_cache(const Subject& a, const Subject& b) {
  ASSERT_EQ(a.cache.cached_tokens(), b.cache.cached_tokens());
  ASSERT_EQ(a.cache.pages().size(), b.cache.pages().size());
  const KvShape& shape = a.pool->shape();
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (int64_t head = 0; head < a.cache.sets_per_layer(); ++head) {
      ASSERT_EQ(a.cache.kept_positions(layer, head), b.cache.kept_positions(layer, head));
    }
    for (const auto side : {ops::KvSide::kKeys, ops::KvSide::kValues})
      ASSERT_TRUE(used_slots(a, layer, side).equal(used_slots(b, layer, side)));
  }
}

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

TEST(SequenceCache, ParkingGoesOnWhereItStopped) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kChar}) {
    for (const std::string& spec : small_policies()) {
      SCOPED_TRACE(spec);
      Shape shape = shapes()[1];
      shape.dtype = dtype;
      shape.page_tokens = dtype == at::kChar ? 16 : shape.page_tokens;
      auto pool = make_pool(shape);
      auto policy = policy_of(spec);
      std::optional<Subject> a(std::in_place, shape, pool.get(), policy.get());
      Subject b(shape, pool.get(), policy.get());
      a->prefill();
      b.prefill();
      for (int step = 1; step <= 50; ++step) {
        ASSERT_TRUE(same(a->feed({TokenKind::kSampled}), b.feed({TokenKind::kSampled}))) << step;
        ASSERT_EQ(a->event_if_due(), b.event_if_due());
        if (step % 13 != 0) continue;
        const size_t held = a->cache.pages().size();
        const auto parked = a->cache.park();
        EXPECT_EQ(pool->used_pages(), static_cast<int64_t>(b.cache.pages().size()));
        EXPECT_EQ(a->cache.pages_to_unpark(*parked), static_cast<int64_t>(held));
        EXPECT_GE(SequenceCache::parked_bytes(*parked), static_cast<int64_t>(held) * pool->shape().bytes_per_page());
        EXPECT_EQ(a->cache.stats().decode_steps, step);              // readable while parked
        if (step == 26) a.emplace(shape, pool.get(), policy.get());  // also into a new object
        a->cache.unpark(*parked);
      }
      expect_same_cache(*a, b);
      EXPECT_EQ(a->cache.records().size(), b.cache.records().size());
    }
  }
}

// Memory pressure: a budget lowered at some step keeps what the smaller budget would have kept there, and goes on as
// it.
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

TEST(SequenceCache, SharedPagesAreCopiedBeforeTheyAreWritten) {
  for (const std::string& spec : small_policies()) {
    SCOPED_TRACE(spec);
    Shape shape = shapes()[1];
    shape.prompt = 40;
    auto pool = make_pool(shape);
    auto policy = policy_of(spec);
    Subject owner(shape, pool.get(), nullptr), alone(shape, pool.get(), policy.get()),
        guest(shape, pool.get(), policy.get());
    owner.prefill();
    alone.prefill();
    if (!guest.cache.takes_prefix_hits()) continue;
    const std::vector<int32_t> shared(owner.cache.pages().begin(), owner.cache.pages().begin() + 4);
    std::vector<std::vector<std::byte>> before;
    for (const int32_t page : shared) before.push_back(bytes_of(*pool, page));
    const int64_t used = pool->used_pages();
    guest.cache.adopt_prefix(shared, 4 * shape.page_tokens);
    EXPECT_EQ(pool->used_pages(), used);
    guest.prefill();
    for (int step = 1; step <= 40; ++step) {
      ASSERT_TRUE(same(guest.feed({TokenKind::kSampled}), alone.feed({TokenKind::kSampled}))) << step;
      ASSERT_EQ(guest.event_if_due(), alone.event_if_due());
    }
    ASSERT_GE(guest.cache.records().size(), 2U);
    expect_same_cache(guest, alone);
    for (size_t i = 0; i < shared.size(); ++i) EXPECT_EQ(before[i], bytes_of(*pool, shared[i]));
  }
}

// An event under memory pressure is not one that the policy's rhythm foretells: its record does.
TEST(SequenceCache, AReplayUnderMemoryPressureFindsPagesForItsCopies) {
  Shape shape = shapes()[1];
  shape.prompt = 40;
  shape.page_tokens = 4;
  auto pool = make_pool(shape);
  const auto policy = policy_of("random:budget=500,min_budget=8,interval=500,window=4,protect=none");
  Subject owner(shape, pool.get(), nullptr);
  owner.prefill();
  const std::vector<int32_t> shared(owner.cache.pages().begin(), owner.cache.pages().begin() + 9);
  Subject first(shape, pool.get(), policy.get()), again(shape, pool.get(), policy.get());
  first.cache.adopt_prefix(shared, 4 * 9);
  again.cache.adopt_prefix(shared, 4 * 9);
  first.prefill();
  for (int step = 0; step < 40; ++step) first.feed({TokenKind::kSampled});
  ASSERT_GT(first.cache.pages_to_gain(28), 0);
  first.cache.lower_budget(28, first.random);
  const auto& records = first.cache.records();

  again.prefill();
  for (int step = 0; step < 39; ++step) again.feed({TokenKind::kSampled});
  const int64_t used = pool->used_pages();
  std::vector<int32_t> taken;  // the pool is as full as may be
  while (pool->free_pages() > again.cache.pages_needed(1, records)) taken.push_back(pool->allocate());
  again.feed({TokenKind::kSampled}, records);
  again.cache.replay(records[0]);
  for (const int32_t page : taken) pool->release(page);
  first.feed({TokenKind::kSampled});
  again.feed({TokenKind::kSampled});
  expect_same_cache(first, again);
  EXPECT_LT(pool->used_pages(), used);  // none waits for a copy any more
}

TEST(SequenceCache, APartlyFilledSharedPageIsCopiedBeforeAppending) {
  const Shape shape = shapes()[1];
  auto pool = make_pool(shape);
  auto policy = policy_of("recency:budget=20");
  Subject subject(shape, pool.get(), policy.get());
  subject.prefill();
  subject.feed({TokenKind::kSampled});  // 18 tokens: page 2 holds 2
  const int32_t page = subject.cache.pages()[2];
  pool->retain(page);  // as a prefix cache would
  const auto before = bytes_of(*pool, page);
  EXPECT_EQ(subject.cache.pages_needed(1), 1);
  subject.feed({TokenKind::kSampled});
  EXPECT_NE(subject.cache.pages()[2], page);
  EXPECT_EQ(before, bytes_of(*pool, page));
  EXPECT_EQ(pool->owners(page), 1);
  pool->release(page);
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

// ---- invariants under random histories ----

struct World {
  Shape shape = shapes()[0];
  std::unique_ptr<PagePool> pool = make_pool(shape);
  std::vector<std::unique_ptr<const EvictionPolicy>> policies;
  std::vector<std::unique_ptr<Subject>> live;
  std::vector<int32_t> shared;  // pages retained here, as a prefix cache does
  std::vector<std::vector<std::byte>> shared_bytes;

  World() {
    shape.layers = 1;
    shape.page_tokens = 4;
    shape.pool_pages = 300;
    pool = make_pool(shape);
    for (const std::string& spec : small_policies()) policies.push_back(policy_of(spec));
  }

  void check() const {
    std::set<int32_t> distinct(shared.begin(), shared.end());
    std::map<int32_t, int32_t> owners;
    for (const int32_t page : shared) ++owners[page];
    for (const auto& s : live) {
      std::set<int32_t> own(s->cache.pages().begin(), s->cache.pages().end());
      RC_ASSERT(own.size() == s->cache.pages().size());
      for (const int32_t page : own) ++owners[page];
      distinct.insert(own.begin(), own.end());
      check_sets(*s);
    }
    RC_ASSERT(pool->used_pages() == static_cast<int64_t>(distinct.size()));  // none leaked
    for (const auto& [page, count] : owners) RC_ASSERT(pool->owners(page) == count);
    for (size_t i = 0; i < shared.size(); ++i) RC_ASSERT(bytes_of(*pool, shared[i]) == shared_bytes[i]);
  }

  static void check_sets(const Subject& s) {
    const int64_t cached = s.cache.cached_tokens(), tokens = s.cache.next_position();
    const int64_t guarded = std::min(s.policy->protected_tokens(s.shape.prompt), tokens);
    for (int64_t layer = 0; layer < s.shape.layers; ++layer) {
      for (int64_t head = 0; head < s.cache.sets_per_layer(); ++head) {
        const auto kept = s.cache.kept_positions(layer, head);
        RC_ASSERT(static_cast<int64_t>(kept.size()) == cached);
        for (size_t i = 1; i < kept.size(); ++i) RC_ASSERT(kept[i - 1] < kept[i]);
        for (int64_t i = 0; i < guarded; ++i) RC_ASSERT(kept[i] == i);
        const int64_t window = std::min(s.policy->window(), cached);
        for (int64_t i = 1; i <= window; ++i) RC_ASSERT(kept[cached - i] == tokens - i);
      }
    }
  }
};

RC_GTEST_PROP(SequenceCacheProperty, NoPageLeaksAndSharedPagesStay, ()) {
  World w;
  const int64_t actions = *rc::gen::inRange(10, 80);
  for (int64_t i = 0; i < actions; ++i) {
    const int choice = *rc::gen::inRange(0, 10);
    if (choice == 0 || w.live.empty()) {  // a new sequence, perhaps on shared pages
      Shape shape = w.shape;
      shape.prompt = *rc::gen::inRange(1, 30);
      const auto* policy = w.policies[*rc::gen::inRange<size_t>(0, w.policies.size())].get();
      auto subject = std::make_unique<Subject>(shape, w.pool.get(), policy);
      const int64_t whole = std::min<int64_t>(w.shared.size(), (shape.prompt - 1) / shape.page_tokens);
      if (subject->cache.takes_prefix_hits() && whole > 0) {
        subject->cache.adopt_prefix(std::span(w.shared).first(whole), whole * shape.page_tokens);
      }
      subject->prefill(*rc::gen::inRange(1, 40));
      // The first plain prompt pages enter the "prefix cache".
      const int64_t full = shape.prompt / shape.page_tokens;
      while (subject->cache.pages_are_plain() && static_cast<int64_t>(w.shared.size()) < full) {
        w.shared.push_back(subject->cache.pages()[w.shared.size()]);
        w.pool->retain(w.shared.back());
        w.shared_bytes.push_back(bytes_of(*w.pool, w.shared.back()));
      }
      w.live.push_back(std::move(subject));
    } else {
      const size_t which = *rc::gen::inRange<size_t>(0, w.live.size());
      Subject& s = *w.live[which];
      if (choice == 1) {
        w.live.erase(w.live.begin() + static_cast<int64_t>(which));
      } else if (choice == 2) {
        const auto parked = s.cache.park();
        s.cache.unpark(*parked);
      } else if (choice == 3) {
        s.feed(std::vector<TokenKind>(*rc::gen::inRange(1, 9), TokenKind::kForced));
      } else {
        for (int n = *rc::gen::inRange(1, 20); n > 0; --n) {
          s.feed({TokenKind::kSampled});
          const int64_t before = w.pool->used_pages();
          if (s.event_if_due()) RC_ASSERT(w.pool->used_pages() <= before);
          RC_ASSERT(static_cast<int64_t>(s.cache.pages().size()) ==
                    (s.cache.cached_tokens() + w.shape.page_tokens - 1) / w.shape.page_tokens);
        }
      }
    }
    w.check();
  }
  w.live.clear();
  for (const int32_t page : w.shared) w.pool->release(page);
  RC_ASSERT(w.pool->used_pages() == 0);
}

}  // namespace
}  // namespace throughline::harness

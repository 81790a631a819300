// Pages that others hold too, or that went to park memory and came back: sequences never write what another reads.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <optional>

#include "cache/policy_harness.h"
#include "cache/sequence_cache.h"

namespace throughline::harness {
namespace {

TEST(SequenceSharing, ParkingGoesOnWhereItStopped) {
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
TEST(SequenceSharing, SharedPagesAreCopiedBeforeTheyAreWritten) {
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
TEST(SequenceSharing, AReplayUnderMemoryPressureFindsPagesForItsCopies) {
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

TEST(SequenceSharing, APartlyFilledSharedPageIsCopiedBeforeAppending) {
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

RC_GTEST_PROP(SequenceSharing, NoPageLeaksAndSharedPagesStay, ()) {
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

#include "cache/prefix_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

namespace throughline {
namespace {

constexpr int64_t kPageTokens = 2;

std::unique_ptr<PagePool> make_pool(int64_t pages) {
  const KvShape shape = {.layers = 1, .kv_heads = 1, .head_dim = 2, .page_tokens = kPageTokens};
  return PagePool::create(shape, pages).value();
}

std::vector<int32_t> allocate(PagePool& pool, int64_t count) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(pool.allocate());
  return out;
}

void release(PagePool& pool, const std::vector<int32_t>& pages) {
  for (int32_t page : pages) pool.release(page);
}

TEST(PrefixCache, FindsWholePagesOfTheSameIdsOnly) {
  auto pool = make_pool(8);
  PrefixCache cache(pool.get());
  const std::vector<int32_t> ids = {1, 2, 3, 4, 5};
  const std::vector<int32_t> pages = allocate(*pool, 3);
  cache.insert(ids, pages);  // the third page is not whole
  EXPECT_EQ(pool->owners(pages[0]), 2);
  EXPECT_EQ(pool->owners(pages[1]), 2);
  EXPECT_EQ(pool->owners(pages[2]), 1);
  EXPECT_THAT(cache.find(ids, 5), testing::ElementsAre(pages[0], pages[1]));
  EXPECT_THAT(cache.find(ids, 4), testing::ElementsAre(pages[0], pages[1]));
  EXPECT_THAT(cache.find(ids, 3), testing::ElementsAre(pages[0]));
  EXPECT_THAT(cache.find(std::vector<int32_t>{1, 2, 3, 9}, 4), testing::ElementsAre(pages[0]));
  EXPECT_THAT(cache.find(std::vector<int32_t>{3, 4, 1, 2}, 4), testing::IsEmpty());  // not at the beginning
  EXPECT_THAT(cache.find(std::vector<int32_t>{1}, 9), testing::IsEmpty());
  release(*pool, pages);
  EXPECT_EQ(pool->free_pages(), 6);
  cache.clear();
  EXPECT_EQ(pool->free_pages(), 8);
  EXPECT_THAT(cache.find(ids, 5), testing::IsEmpty());
}

TEST(PrefixCache, GivesUpTheLeastRecentlyUsedThatNobodyHolds) {
  auto pool = make_pool(6);
  PrefixCache cache(pool.get());
  const std::vector<int32_t> first = {1, 1, 2, 2}, second = {1, 1, 3, 3}, third = {4, 4};
  const std::vector<int32_t> a = allocate(*pool, 2), b = allocate(*pool, 2), c = allocate(*pool, 1);
  cache.insert(first, a);
  cache.insert(second, b);  // its first page is a[0] already
  cache.insert(third, c);
  EXPECT_EQ(pool->owners(b[0]), 1);
  release(*pool, a);
  release(*pool, b);
  EXPECT_EQ(pool->free_pages(), 2);
  EXPECT_EQ(cache.reclaimable_pages(), 3);  // c is held by its sequence
  cache.find(first, 4);
  EXPECT_EQ(cache.shrink(2), 0);
  EXPECT_EQ(cache.shrink(3), 1);
  EXPECT_THAT(cache.find(second, 4), testing::ElementsAre(a[0]));
  EXPECT_THAT(cache.find(first, 4), testing::ElementsAre(a[0], a[1]));
  EXPECT_EQ(cache.shrink(99), 2);
  EXPECT_THAT(cache.find(third, 4), testing::ElementsAre(c[0]));
  EXPECT_EQ(pool->free_pages(), 5);
  release(*pool, c);
}

TEST(PrefixCache, LeavesAnEmptyPool) {
  auto pool = make_pool(3);
  {
    PrefixCache cache(pool.get());
    const std::vector<int32_t> pages = allocate(*pool, 3);
    cache.insert(std::vector<int32_t>{1, 2, 3, 4, 5, 6}, pages);
    release(*pool, pages);
    EXPECT_EQ(pool->free_pages(), 0);
  }
  EXPECT_EQ(pool->free_pages(), 3);
}

// Every prefix of whole pages in a list, looked through from end to end.
struct NaiveCache {
  struct Entry {
    int32_t page;
    int64_t used_at;
  };
  std::map<std::vector<int32_t>, Entry> entries;
  int64_t clock = 0;

  static std::vector<int32_t> prefix(const std::vector<int32_t>& ids, int64_t pages) {
    return {ids.begin(), ids.begin() + pages * kPageTokens};
  }
  std::vector<int32_t> find(const std::vector<int32_t>& ids, int64_t limit) {
    ++clock;
    std::vector<int32_t> out;
    for (int64_t n = 1; n * kPageTokens <= std::min<int64_t>(limit, ids.size()); ++n) {
      const auto entry = entries.find(prefix(ids, n));
      if (entry == entries.end()) break;
      entry->second.used_at = clock;
      out.push_back(entry->second.page);
    }
    return out;
  }
  std::vector<int32_t> insert(const std::vector<int32_t>& ids, const std::vector<int32_t>& pages) {
    ++clock;
    std::vector<int32_t> taken;
    for (int64_t n = 1; n * kPageTokens <= static_cast<int64_t>(ids.size()); ++n) {
      const auto [entry, is_new] = entries.try_emplace(prefix(ids, n), Entry{pages[n - 1], 0});
      entry->second.used_at = clock;
      if (is_new) taken.push_back(pages[n - 1]);
    }
    return taken;
  }
  bool is_leaf(const std::vector<int32_t>& ids) const {
    for (const auto& [other, entry] : entries) {
      if (other.size() > ids.size() && std::equal(ids.begin(), ids.end(), other.begin())) return false;
    }
    return true;
  }
  // The page given up, or -1.
  int32_t evict(const std::map<int32_t, int>& held) {
    auto oldest = entries.end();
    for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
      if (!is_leaf(entry->first) || held.count(entry->second.page) != 0) continue;
      if (oldest == entries.end() || entry->second.used_at < oldest->second.used_at) oldest = entry;
    }
    if (oldest == entries.end()) return -1;
    const int32_t page = oldest->second.page;
    entries.erase(oldest);
    return page;
  }
};

RC_GTEST_PROP(PrefixCache, IsLikeTheNaiveOne, ()) {
  constexpr int64_t kPages = 12;
  auto pool = make_pool(kPages);
  PrefixCache cache(pool.get());
  NaiveCache naive;
  std::vector<std::vector<int32_t>> sequences;  // pages that sequences hold
  const auto held = [&] {
    std::map<int32_t, int> out;
    for (const auto& pages : sequences) {
      for (int32_t page : pages) ++out[page];
    }
    return out;
  };
  const int steps = *rc::gen::inRange(1, 60);
  for (int step = 0; step < steps; ++step) {
    const int action = *rc::gen::inRange(0, 4);
    const auto ids = *rc::gen::container<std::vector<int32_t>>(rc::gen::inRange(0, 2));
    if (action == 0) {
      const int64_t limit = *rc::gen::inRange<int64_t>(0, 12);
      RC_ASSERT(cache.find(ids, limit) == naive.find(ids, limit));
    } else if (action == 1) {  // a sequence starts: adopts what is there, computes the rest, offers all
      std::vector<int32_t> pages = cache.find(ids, static_cast<int64_t>(ids.size()));
      RC_ASSERT(pages == naive.find(ids, static_cast<int64_t>(ids.size())));
      for (int32_t page : pages) pool->retain(page);
      const int64_t wanted = (static_cast<int64_t>(ids.size()) + kPageTokens - 1) / kPageTokens;
      sequences.push_back(pages);
      while (static_cast<int64_t>(sequences.back().size()) < wanted && pool->free_pages() > 0) {
        sequences.back().push_back(pool->allocate());
      }
      if (static_cast<int64_t>(sequences.back().size()) == wanted) {
        cache.insert(ids, sequences.back());
        naive.insert(ids, sequences.back());
      }
    } else if (action == 2 && !sequences.empty()) {
      const size_t which = *rc::gen::inRange<size_t>(0, sequences.size());
      release(*pool, sequences[which]);
      sequences.erase(sequences.begin() + which);
    } else if (action == 3) {
      const int64_t wanted = *rc::gen::inRange<int64_t>(0, kPages + 1);
      const int64_t reclaimable = cache.reclaimable_pages(), before = pool->free_pages();
      const int64_t freed = cache.shrink(wanted);
      RC_ASSERT(freed == std::clamp<int64_t>(wanted - before, 0, reclaimable));
      RC_ASSERT(pool->free_pages() == before + freed);
      for (int64_t i = 0; i < freed; ++i) RC_ASSERT(naive.evict(held()) >= 0);
    }
    // Owners: the sequences and, once a page, the cache.
    std::map<int32_t, int> owners = held();
    for (const auto& [prefix, entry] : naive.entries) ++owners[entry.page];
    for (int32_t page = 0; page < kPages; ++page) {
      RC_ASSERT(pool->owners(page) == (owners.count(page) != 0 ? owners[page] : 0));
    }
  }
  for (const auto& pages : sequences) release(*pool, pages);
  cache.clear();
  RC_ASSERT(pool->free_pages() == kPages);
}

}  // namespace
}  // namespace throughline

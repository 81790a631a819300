#include "cache/page_pool.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>

namespace throughline {
namespace {

KvShape small_shape() { return {.layers = 3, .kv_heads = 2, .head_dim = 6, .page_tokens = 5, .dtype = at::kFloat}; }

int64_t process_rss_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

TEST(PagePool, RefusesWhatItCannotHold) {
  KvShape shape = small_shape();
  shape.device = at::Device(at::kCUDA, 0);
  EXPECT_THAT(PagePool::create(shape, 4).error().line(), testing::HasSubstr("issue F"));
  shape = small_shape();
  shape.dtype = at::kDouble;
  EXPECT_THAT(PagePool::create(shape, 4).error().line(), testing::HasSubstr("fp32, bf16 or int8"));
  shape.dtype = at::kChar;
  shape.page_tokens = 8;
  EXPECT_THAT(PagePool::create(shape, 4).error().line(), testing::HasSubstr("pages of 8 tokens cannot hold int8"));
  shape.page_tokens = 32;
  EXPECT_THAT(PagePool::create(shape, 4).error().line(), testing::HasSubstr("leave --kv-dtype out"));
  shape.head_dim = 8;
  EXPECT_TRUE(PagePool::create(shape, 4).ok());
  EXPECT_FALSE(PagePool::create(small_shape(), 0).ok());
  shape = small_shape();
  shape.layers = shape.kv_heads = shape.head_dim = shape.page_tokens = 1 << 20;
  EXPECT_THAT(PagePool::create(shape, 1 << 20).error().line(), testing::HasSubstr("--kv-memory"));
  shape = {.layers = 1 << 10, .kv_heads = 1 << 10, .head_dim = 1 << 10, .page_tokens = 1 << 10};
  EXPECT_THAT(PagePool::create(shape, 1 << 12).error().line(), testing::HasSubstr("cannot reserve"));
}

TEST(PagePool, HandsOutTheLowestIdAndChecksOwners) {
  auto pool = PagePool::create(small_shape(), 3).value();
  EXPECT_EQ(pool->allocate(), 0);
  EXPECT_EQ(pool->allocate(), 1);
  EXPECT_EQ(pool->allocate(), 2);
  EXPECT_THROW(pool->allocate(), InvariantError);
  pool->release(1);
  pool->release(0);
  EXPECT_EQ(pool->free_pages(), 2);
  EXPECT_EQ(pool->allocate(), 0);
  EXPECT_THROW(pool->release(1), InvariantError);
  EXPECT_THROW(pool->retain(1), InvariantError);
  EXPECT_THROW(pool->retain(-1), InvariantError);
  EXPECT_THROW(pool->release(3), InvariantError);
}

TEST(PagePool, LayersAndPagesDoNotOverlap) {
  EXPECT_EQ((KvShape{.layers = 3, .kv_heads = 2, .head_dim = 6, .dtype = at::kChar}.bytes_per_token()), 2 * 3 * 2 * 10);
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    KvShape shape = small_shape();
    shape.dtype = dtype;
    auto pool = PagePool::create(shape, 4).value();
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      EXPECT_EQ(pool->layer(layer).k.sizes(), (std::vector<int64_t>{4, 2, 5, 6}));
      for (int64_t page = 0; page < 4; ++page) {
        pool->layer(layer).k[page].fill_(100 * layer + page);
        pool->layer(layer).v[page].fill_(100 * layer + page + 50);
      }
    }
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      for (int64_t page = 0; page < 4; ++page) {
        const at::Tensor k = pool->layer(layer).k[page], v = pool->layer(layer).v[page];
        EXPECT_TRUE(at::equal(k, at::full_like(k, 100 * layer + page)));
        EXPECT_TRUE(at::equal(v, at::full_like(v, 100 * layer + page + 50)));
      }
    }
  }
}

TEST(PagePool, CopiesAndParksWholePages) {
  const KvShape shape = small_shape();
  auto pool = PagePool::create(shape, 3).value();
  const int32_t from = pool->allocate(), to = pool->allocate(), shared = pool->allocate();
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    pool->layer(layer).k[from].copy_(at::randn({2, 5, 6}));
    pool->layer(layer).v[from].copy_(at::randn({2, 5, 6}));
  }
  const auto same = [&](int32_t a, int32_t b) {
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      const ops::PagedKv& kv = pool->layer(layer);
      if (!at::equal(kv.k[a], kv.k[b]) || !at::equal(kv.v[a], kv.v[b])) return false;
    }
    return true;
  };
  pool->copy_page(from, to);
  EXPECT_TRUE(same(from, to));
  std::vector<std::byte> parked(shape.bytes_per_page());
  EXPECT_EQ(shape.bytes_per_page(), 2 * 3 * 2 * 6 * 5 * 4);
  pool->read_page(from, parked.data());
  EXPECT_FALSE(same(from, shared));
  pool->write_page(shared, parked.data());
  EXPECT_TRUE(same(from, shared));
  pool->retain(shared);
  EXPECT_THROW(pool->write_page(shared, parked.data()), InvariantError);
  EXPECT_THROW(pool->copy_page(from, shared), InvariantError);
}

// No page leaked, none owned twice, counts as in a map.
RC_GTEST_PROP(PagePool, CountsLikeAMap, ()) {
  const int pages = *rc::gen::inRange(1, 20);
  auto pool = PagePool::create(small_shape(), pages).value();
  std::map<int32_t, int> owners;
  for (int action : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 300))) {
    auto chosen = owners.begin();
    if (!owners.empty()) std::advance(chosen, action / 3 % owners.size());
    if (action % 3 == 0 && pool->free_pages() > 0) {
      const int32_t page = pool->allocate();
      RC_ASSERT(page >= 0 && page < pages && owners.count(page) == 0);
      for (int32_t lower = 0; lower < page; ++lower) RC_ASSERT(owners.count(lower) == 1);
      owners[page] = 1;
    } else if (action % 3 == 1 && !owners.empty()) {
      pool->retain(chosen->first);
      ++chosen->second;
    } else if (action % 3 == 2 && !owners.empty()) {
      pool->release(chosen->first);
      if (--chosen->second == 0) owners.erase(chosen);
    }
    RC_ASSERT(pool->used_pages() == static_cast<int64_t>(owners.size()));
    for (int32_t page = 0; page < pages; ++page) {
      RC_ASSERT(pool->owners(page) == (owners.count(page) != 0 ? owners[page] : 0));
    }
  }
  for (auto [page, count] : owners) {
    for (int i = 0; i < count; ++i) pool->release(page);
  }
  RC_ASSERT(pool->free_pages() == pages);
}

class PagePoolRss : public testing::TestWithParam<int64_t> {};

TEST_P(PagePoolRss, FollowsUse) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers hold memory of their own";
#endif
  constexpr int64_t kFill = 1024 << 20, kSlack = 64 << 20;
  const KvShape shape = {.layers = 7, .kv_heads = 8, .head_dim = GetParam(), .page_tokens = 64, .dtype = at::kBFloat16};
  const int64_t pages = kFill / shape.bytes_per_page();
  const int64_t before = process_rss_bytes();
  auto pool = PagePool::create(shape, 100 * pages).value();
  EXPECT_LT(process_rss_bytes() - before, kSlack) << "reserving touches nothing";
  std::vector<int32_t> taken;
  const std::vector<std::byte> page(shape.bytes_per_page(), std::byte{1});
  for (int64_t i = 0; i < pages; ++i) pool->write_page(taken.emplace_back(pool->allocate()), page.data());
  EXPECT_GT(process_rss_bytes() - before, kFill - kSlack);
  // Every second page first: freed memory need not be in one piece.
  for (int64_t i = 0; i < pages; i += 2) pool->release(taken[i]);
  EXPECT_LT(process_rss_bytes() - before, kFill / 2 + kWarmFreeBytes + kSlack);
  for (int64_t i = 1; i < pages; i += 2) pool->release(taken[i]);
  EXPECT_LT(process_rss_bytes() - before, kWarmFreeBytes + kSlack);
  EXPECT_EQ(pool->used_pages(), 0);
}
INSTANTIATE_TEST_SUITE_P(PageSizes, PagePoolRss, testing::Values(2, 16, 256));

}  // namespace
}  // namespace throughline

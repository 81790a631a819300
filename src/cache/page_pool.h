// The page pool: fixed-size pages of K and V for every layer, handed out one by one and counted.
//
// A page id stands for one page in every layer of its group (today one group: all layers). On the CPU storage is one
// reservation, page after page, each page holding K and V of all its layers: a page is one range of bytes that can be
// copied, parked or given back to the system at once, and layer(l) is a strided view. Memory is touched on first use;
// pages that come back are given back to the system once more than kWarmFreeBytes lie idle, so that RSS follows use.
// Pages are reference-counted: a shared prompt page has several owners and is never written (callers copy first). A new
// page's contents are undefined. Errors: a shape or size that cannot be reserved. Not thread-safe: the engine's step
// loop owns it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "ops/paged_attention.h"

namespace throughline {

struct KvShape {
  int64_t layers = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t page_tokens = 64;
  at::ScalarType dtype = at::kFloat;  // kFloat, kBFloat16, or kChar: int8 with a scale a token and head
  at::Device device = at::kCPU;

  int64_t row_elements() const;     // of one token and head of K or of V, with an int8 row's scale
  int64_t bytes_per_token() const;  // K and V, all layers
  int64_t bytes_per_page() const { return bytes_per_token() * page_tokens; }
};

// The system clears what is touched anew, which a prefill would notice.
constexpr int64_t kWarmFreeBytes = 256 << 20;

class PagePool {
 public:
  static Result<std::unique_ptr<PagePool>> create(const KvShape& shape, int64_t pages);
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  const KvShape& shape() const { return shape_; }
  int64_t pages() const { return static_cast<int64_t>(owners_.size()); }
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  int64_t used_pages() const { return pages() - free_pages(); }

  int32_t allocate();          // with one owner. REQUIRES: free_pages() > 0. Lowest free id first
  void retain(int32_t page);   // one more owner
  void release(int32_t page);  // one owner less; the last one frees it
  int32_t owners(int32_t page) const { return owners_[page]; }

  const ops::PagedKv& layer(int64_t layer) const { return layers_[layer]; }
  void copy_page(int32_t from, int32_t to);  // K and V, all layers

  // Host copies for parking: the bytes of the page in all layers, shape().bytes_per_page() long.
  void read_page(int32_t page, std::byte* out) const;
  void write_page(int32_t page, const std::byte* in);

 private:
  PagePool(const KvShape& shape, int64_t pages, std::byte* storage);
  std::byte* page_bytes(int32_t page) const { return storage_ + page * page_stride_bytes_; }
  int32_t& counted(int32_t page);  // owners of a page that has some
  void trim();

  KvShape shape_;
  std::vector<int32_t> owners_;
  std::vector<int32_t> free_;   // min-heap
  std::vector<bool> resident_;  // free pages that may still hold memory
  int64_t resident_free_ = 0;   // how many of these
  std::byte* storage_ = nullptr;
  int64_t page_stride_bytes_ = 0;  // bytes_per_page() rounded up to whole system pages
  std::vector<ops::PagedKv> layers_;
};

}  // namespace throughline

#include "cache/page_pool.h"

#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <limits>

#include "ops/int8_tiles.h"

namespace throughline {
namespace {

constexpr int64_t kSystemPageBytes = 4096;
constexpr int64_t kHugePageBytes = 2 << 20;
constexpr size_t kSmallPoolBytes = size_t{4} << 30;

int64_t page_stride_bytes(const KvShape& shape) {
  return (shape.bytes_per_page() + kSystemPageBytes - 1) / kSystemPageBytes * kSystemPageBytes;
}

Status check_shape(const KvShape& shape, int64_t pages) {
  if (!shape.device.is_cpu()) {
    return Error{"no KV pool on " + shape.device.str() + " yet", "device", "use cpu (CUDA comes with issue F)"};
  }
  if (shape.dtype != at::kFloat && shape.dtype != at::kBFloat16 && shape.dtype != at::kChar) {
    return Error{"KV is stored in fp32, bf16 or int8 only", "KV dtype", "use one of these"};
  }
  if (shape.dtype == at::kChar && shape.page_tokens % ops::kInt8PageTokens != 0) {
    return Error{"pages of " + std::to_string(shape.page_tokens) + " tokens cannot hold int8", "KV dtype",
                 "use a multiple of " + std::to_string(ops::kInt8PageTokens)};
  }
  if (shape.dtype == at::kChar && shape.head_dim % ops::kInt8HeadDim != 0) {
    return Error{"heads of " + std::to_string(shape.head_dim) + " elements cannot be held in int8, only multiples of " +
                     std::to_string(ops::kInt8HeadDim),
                 "KV dtype", "leave --kv-dtype out"};
  }
  const int64_t extents[] = {shape.layers, shape.kv_heads, shape.head_dim, shape.page_tokens, pages};
  int64_t bytes = 2 * 8;  // more than an element of any dtype takes, scales included
  for (int64_t extent : extents) {
    if (extent < 1 || extent > std::numeric_limits<int32_t>::max() || __builtin_mul_overflow(bytes, extent, &bytes)) {
      return Error{"a KV pool of " + std::to_string(pages) + " pages of " + std::to_string(shape.page_tokens) +
                       " tokens cannot be reserved",
                   "KV memory", "give a smaller --kv-memory"};
    }
  }
  return {};
}

}  // namespace

int64_t KvShape::row_elements() const { return head_dim + (dtype == at::kChar ? ops::kKvScaleBytes : 0); }

int64_t KvShape::bytes_per_token() const {
  return 2 * layers * kv_heads * row_elements() * static_cast<int64_t>(c10::elementSize(dtype));
}

Result<std::unique_ptr<PagePool>> PagePool::create(const KvShape& shape, int64_t pages) {
  TL_TRY_STATUS(check_shape(shape, pages));
  const size_t bytes = static_cast<size_t>(page_stride_bytes(shape)) * pages;
  void* storage = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, /*fd=*/-1,
                       /*offset=*/0);
  if (storage == MAP_FAILED) {
    return Error{"cannot reserve " + std::to_string(bytes) + " bytes for the KV pool: " + std::strerror(errno),
                 "KV memory", "give a smaller --kv-memory"};
  }
  // Where a page covers whole huge pages: else returning one leaves the memory of a huge page behind whose other parts
  // are in use, which only small pools may do.
  if (page_stride_bytes(shape) >= kHugePageBytes || bytes <= kSmallPoolBytes) madvise(storage, bytes, MADV_HUGEPAGE);
  return std::unique_ptr<PagePool>(new PagePool(shape, pages, static_cast<std::byte*>(storage)));
}

PagePool::PagePool(const KvShape& shape, int64_t pages, std::byte* storage)
    : shape_(shape),
      owners_(pages, 0),
      free_(pages),
      resident_(pages, false),
      storage_(storage),
      page_stride_bytes_(page_stride_bytes(shape)) {
  for (int64_t i = 0; i < pages; ++i) free_[i] = static_cast<int32_t>(i);
  const int64_t element_bytes = static_cast<int64_t>(c10::elementSize(shape.dtype));
  const int64_t row = shape.row_elements();
  const int64_t part_elements = shape.kv_heads * shape.page_tokens * row;  // K or V of one layer
  const std::vector<int64_t> sizes = {pages, shape.kv_heads, shape.page_tokens, row};
  const std::vector<int64_t> strides = {page_stride_bytes_ / element_bytes, shape.page_tokens * row, row, 1};
  const at::TensorOptions options = at::TensorOptions().dtype(shape.dtype);
  const auto view = [&](int64_t part) {
    return at::from_blob(storage_ + part * part_elements * element_bytes, sizes, strides, options);
  };
  for (int64_t layer = 0; layer < shape.layers; ++layer) layers_.push_back({view(2 * layer), view(2 * layer + 1)});
}

PagePool::~PagePool() { munmap(storage_, page_stride_bytes_ * pages()); }

int32_t PagePool::allocate() {
  TL_CHECK(!free_.empty(), "the KV pool is exhausted");
  std::pop_heap(free_.begin(), free_.end(), std::greater<>());
  const int32_t page = free_.back();
  free_.pop_back();
  owners_[page] = 1;
  if (resident_[page]) {
    resident_[page] = false;
    --resident_free_;
  }
  return page;
}

int32_t& PagePool::counted(int32_t page) {
  TL_CHECK(page >= 0 && page < pages() && owners_[page] > 0, "page " + std::to_string(page) + " has no owner");
  return owners_[page];
}

void PagePool::retain(int32_t page) { ++counted(page); }

void PagePool::release(int32_t page) {
  if (--counted(page) > 0) return;
  free_.push_back(page);
  std::push_heap(free_.begin(), free_.end(), std::greater<>());
  resident_[page] = true;
  ++resident_free_;
  if (resident_free_ * page_stride_bytes_ > kWarmFreeBytes) trim();
}

// The highest go first, since the lowest are handed out first. Half stays warm, so that a release costs a scan only
// once in a while.
void PagePool::trim() {
  const int64_t keep = kWarmFreeBytes / 2 / page_stride_bytes_;
  for (int64_t page = pages() - 1; page >= 0 && resident_free_ > keep; --page) {
    if (!resident_[page]) continue;
    int64_t first = page;  // one call for a run of pages
    while (first > 0 && resident_[first - 1] && resident_free_ - (page - first + 1) > keep) --first;
    const int64_t run = page - first + 1;
    madvise(page_bytes(static_cast<int32_t>(first)), run * page_stride_bytes_, MADV_DONTNEED);
    for (int64_t i = first; i <= page; ++i) resident_[i] = false;
    resident_free_ -= run;
    page = first;
  }
}

void PagePool::copy_page(int32_t from, int32_t to) {
  TL_CHECK(counted(from) > 0 && counted(to) == 1, "a shared page is never written");
  std::memcpy(page_bytes(to), page_bytes(from), shape_.bytes_per_page());
}

void PagePool::read_page(int32_t page, std::byte* out) const {
  TL_CHECK(page >= 0 && page < pages() && owners_[page] > 0, "page " + std::to_string(page) + " has no owner");
  std::memcpy(out, page_bytes(page), shape_.bytes_per_page());
}

void PagePool::write_page(int32_t page, const std::byte* in) {
  TL_CHECK(counted(page) == 1, "a shared page is never written");
  std::memcpy(page_bytes(page), in, shape_.bytes_per_page());
}

}  // namespace throughline

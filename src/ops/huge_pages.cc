#include "ops/huge_pages.h"

#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/result.h"
#include "ops/parallel.h"

namespace throughline::ops {
namespace {

constexpr size_t kHugePage = size_t{2} << 20, kChunkBytes = 32 * kHugePage;
constexpr int64_t kCopyBytes = int64_t{1} << 20;

// Handed out from front to back.
class Chunk {
 public:
  explicit Chunk(size_t bytes) : bytes_(bytes) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TL_CHECK(memory != MAP_FAILED, "out of memory");
    madvise(memory, bytes_, MADV_HUGEPAGE);
    begin_ = static_cast<std::byte*>(memory);
  }
  ~Chunk() { munmap(begin_, bytes_); }
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  void* take(size_t bytes) {  // null: too little is left
    const size_t from = (used_ + 63) / 64 * 64;
    if (from + bytes > bytes_) return nullptr;
    used_ = from + bytes;
    return begin_ + from;
  }

 private:
  size_t bytes_, used_ = 0;
  std::byte* begin_ = nullptr;
};

}  // namespace

at::Tensor empty_in_huge_pages(at::IntArrayRef sizes, at::ScalarType type) {
  static thread_local std::weak_ptr<Chunk> newest;
  size_t bytes = at::elementSize(type);
  for (const int64_t size : sizes) bytes *= static_cast<size_t>(size);
  std::shared_ptr<Chunk> chunk = newest.lock();
  void* memory = chunk != nullptr ? chunk->take(bytes) : nullptr;
  if (memory == nullptr) {
    chunk = std::make_shared<Chunk>(std::max(kChunkBytes, (bytes + kHugePage - 1) / kHugePage * kHugePage));
    memory = chunk->take(bytes);
    newest = chunk;
  }
  return at::from_blob(
      memory, sizes, [chunk](void*) {}, at::TensorOptions().dtype(type));
}

at::Tensor copy_to_huge_pages(const at::Tensor& from) {
  TL_CHECK(from.is_contiguous() && from.device().is_cpu(), "copy_to_huge_pages: contiguous, on the CPU");
  at::Tensor to = empty_in_huge_pages(from.sizes(), from.scalar_type());
  const auto* source = static_cast<const std::byte*>(from.const_data_ptr());
  auto* target = static_cast<std::byte*>(to.mutable_data_ptr());
  parallel_for(0, static_cast<int64_t>(from.nbytes()), kCopyBytes, [&](int64_t begin, int64_t end) {
    std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
  });
  return to;
}

}  // namespace throughline::ops

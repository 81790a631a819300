#include "ops/cpu_memory.h"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <malloc.h>

#include <cstdint>
#include <cstdlib>

namespace throughline::ops {
namespace {

constexpr size_t kAlignment = 64;  // a cache line, a vector

// The pointer that malloc returned stands in the word before the block.
void*& malloc_pointer(void* block) { return static_cast<void**>(block)[-1]; }

void free_block(void* block) {
  if (block != nullptr) std::free(malloc_pointer(block));
}

struct HeapAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* block = nullptr;
    if (bytes > 0) {
      void* memory = std::malloc(bytes + kAlignment);
      TORCH_CHECK_WITH(OutOfMemoryError, memory != nullptr, "not enough memory: ", bytes, " bytes for a tensor");
      block = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory) / kAlignment + 1) * kAlignment);
      malloc_pointer(block) = memory;
    }
    return {block, block, free_block, at::Device(at::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return free_block; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

}  // namespace

void use_heap_for_tensors() {
  ::mallopt(M_MMAP_THRESHOLD, 256 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 512 << 20);
  static HeapAllocator allocator;
  c10::SetCPUAllocator(&allocator, 1);
}

}  // namespace throughline::ops

// Memory of huge pages for weights, which decoding reads from front to back at every step.
//
// With 4 KiB pages, a mapped file's or the allocator's, a core reads about half as fast (docs/performance.md). Where
// the system has no huge pages to give, this is ordinary memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace throughline::ops {

// Undefined contents, 64-byte aligned. Tensors are often smaller than a huge page, so those that a thread makes one
// after the other share pages, 64 MiB at a time; the memory goes with the last of them.
at::Tensor empty_in_huge_pages(at::IntArrayRef sizes, at::ScalarType type);
at::Tensor copy_to_huge_pages(const at::Tensor& from);  // contiguous, on the CPU

}  // namespace throughline::ops

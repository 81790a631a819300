// Memory of tensors on the CPU: ATen's allocator replaced by one that suits steps and updates, for the whole process.
//
// A step or an update takes and gives back the same blocks, megabytes each, over and over. They come from the heap: a
// block that the system maps anew costs a page fault for every 4 KiB. ATen asks posix_memalign for them, and glibc's
// cannot take a block that was given back for another of the same size, since it wants room to align in as well: the
// heap grew with every update. Here malloc serves, and the block is aligned within.
#pragma once

namespace throughline::ops {

// Call at a program's start, before the first tensor.
void use_heap_for_tensors();

}  // namespace throughline::ops

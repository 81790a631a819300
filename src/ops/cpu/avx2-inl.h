// Shared by the files of AVX2 intrinsics. Included by sources only.
#pragma once

#include <immintrin.h>

#include "ops/cpu/unroll.h"

#define TL_TARGET __attribute__((target("avx2,fma")))
#define TL_INLINE TL_TARGET inline __attribute__((always_inline))

namespace throughline::ops {

// Adds words to a tile's sums. Not by the intrinsic: g++ 12 then copies the tile to memory in each round of its loop.
TL_INLINE void add_words(__m256i* sums, __m256i x) { asm("vpaddd %1, %0, %0" : "+x"(*sums) : "x"(x)); }

}  // namespace throughline::ops

// Shared by the files of AVX2 intrinsics. Included by sources only.
#pragma once

#include <immintrin.h>

#include "ops/cpu/unroll.h"

#define TL_TARGET __attribute__((target("avx2,fma")))
#define TL_INLINE TL_TARGET inline __attribute__((always_inline))

namespace throughline::ops {

// Adds words to a tile's sums. Not by the intrinsic: g++ 12 then copies the tile to memory in each round of its loop.
TL_INLINE void add_words(__m256i* sums, __m256i x) { asm("vpaddd %1, %0, %0" : "+x"(*sums) : "x"(x)); }

// Eight vectors of eight words: word j of vector i becomes word i of vector j.
TL_INLINE void transpose(__m256i (&x)[8]) {
  __m256i pairs[8], fours[8];
  for (int i = 0; i < 4; ++i) {
    pairs[2 * i] = _mm256_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
    pairs[2 * i + 1] = _mm256_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      fours[4 * i + 2 * j] = _mm256_unpacklo_epi64(pairs[4 * i + j], pairs[4 * i + 2 + j]);
      fours[4 * i + 2 * j + 1] = _mm256_unpackhi_epi64(pairs[4 * i + j], pairs[4 * i + 2 + j]);
    }
  }
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm256_permute2x128_si256(fours[i], fours[4 + i], 0x20);
    x[4 + i] = _mm256_permute2x128_si256(fours[i], fours[4 + i], 0x31);
  }
}

}  // namespace throughline::ops

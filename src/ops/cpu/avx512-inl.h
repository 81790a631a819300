// Shared by the files of AVX-512 intrinsics. Included by sources only; functions are inlined into code for that target.
#pragma once

#include <immintrin.h>

// g++ 12 takes the don't-care operands of its own intrinsics for uninitialised ones (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace throughline::ops::avx512 {

// Lane i of the result is the sum of the lanes of a[i % 4 * 4 + i / 4]: lanes 8 apart first, then 4, 2, 1.
__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl"), always_inline)) inline __m512 sums_of_lanes(
    const __m512* a) {
  __m512 eights[8], fours[4], twos[2];
  for (int i = 0; i < 8; ++i) {
    eights[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0x44),
                              _mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0xee));
  }
  for (int i = 0; i < 4; ++i) {
    fours[i] = _mm512_add_ps(_mm512_shuffle_f32x4(eights[2 * i], eights[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(eights[2 * i], eights[2 * i + 1], 0xdd));
  }
  for (int i = 0; i < 2; ++i) {
    const __m512d x = _mm512_castps_pd(fours[2 * i]), y = _mm512_castps_pd(fours[2 * i + 1]);
    twos[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
  return _mm512_add_ps(_mm512_shuffle_ps(twos[0], twos[1], 0x88), _mm512_shuffle_ps(twos[0], twos[1], 0xdd));
}

}  // namespace throughline::ops::avx512

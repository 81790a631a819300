// Shared by the files of AVX-512 intrinsics. Included by sources only; functions are inlined into code for that target.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/cpu/exp2.h"
#include "ops/cpu/unroll.h"

// Each file says what it needs besides: #define TL_TARGET TL_AVX512("avx512bf16").
#define TL_AVX512(extension) __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq," extension)))
#define TL_INLINE TL_TARGET inline __attribute__((always_inline))

// g++ 12 takes the don't-care operands of its own intrinsics for uninitialised ones (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace throughline::ops::avx512 {

#define TL_AVX512_INLINE __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl"), always_inline)) inline

// Lane i of the result is the sum of the lanes of a[i % 4 * 4 + i / 4]: lanes 8 apart first, then 4, 2, 1.
TL_AVX512_INLINE __m512 sums_of_lanes(const __m512* a) {
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

// 2^x for x <= 0, by kExp2; 0 for minus infinity.
TL_AVX512_INLINE __m512 exp2_of(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);  // what is over its floor
  __m512 y = _mm512_set1_ps(cpu::kExp2[0]);
  TL_UNROLL
  for (int i = 1; i < 6; ++i) y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(cpu::kExp2[i]));
  return _mm512_scalef_ps(y, x);  // by 2 to the floor
}

// Softmax weights of scores, relative to the highest of them.
struct Softmax {
  static constexpr float kNoScore = -3.0e38F, kLog2E = 1.44269504089F;
  int64_t slots;
  float highest;

  TL_AVX512_INLINE Softmax(const float* scores, int64_t count) : slots(count) {
    const __m512 none = _mm512_set1_ps(kNoScore);
    __m512 top = none;
    int64_t i = 0;
    for (; i + 16 <= slots; i += 16) top = _mm512_max_ps(top, _mm512_load_ps(scores + i));
    top = _mm512_max_ps(top, _mm512_mask_load_ps(none, first_of(slots - i), scores + i));
    highest = _mm512_reduce_max_ps(top);
  }
  // Of scores i to i + 15; nothing for those from `slots` on.
  TL_AVX512_INLINE __m512 weights(const float* scores, int64_t i) const {
    const __m512 below = _mm512_sub_ps(_mm512_load_ps(scores + i), _mm512_set1_ps(highest));
    const __m512 all = exp2_of(_mm512_mul_ps(below, _mm512_set1_ps(kLog2E)));
    return i + 16 <= slots ? all : _mm512_maskz_mov_ps(first_of(slots - i), all);
  }
  TL_AVX512_INLINE static __mmask16 first_of(int64_t lanes) {
    return lanes >= 16 ? 0xffff : static_cast<__mmask16>((1U << lanes) - 1);
  }
};

// Four rows' words, group by group of four: lane 4 g + r of out[i] is word 4 g + i of row r.
TL_AVX512_INLINE void transpose_quarters(const __m512i* rows, __m512i* out) {
  const __m512i a = _mm512_unpacklo_epi32(rows[0], rows[1]), b = _mm512_unpackhi_epi32(rows[0], rows[1]);
  const __m512i c = _mm512_unpacklo_epi32(rows[2], rows[3]), d = _mm512_unpackhi_epi32(rows[2], rows[3]);
  out[0] = _mm512_unpacklo_epi64(a, c), out[1] = _mm512_unpackhi_epi64(a, c);
  out[2] = _mm512_unpacklo_epi64(b, d), out[3] = _mm512_unpackhi_epi64(b, d);
}

// The groups of four words of four rows: group r of out[i] is group i of row r.
TL_AVX512_INLINE void transpose_groups(const __m512i* rows, __m512i* out) {
  const __m512i a = _mm512_shuffle_i32x4(rows[0], rows[1], 0x88), b = _mm512_shuffle_i32x4(rows[0], rows[1], 0xdd);
  const __m512i c = _mm512_shuffle_i32x4(rows[2], rows[3], 0x88), d = _mm512_shuffle_i32x4(rows[2], rows[3], 0xdd);
  out[0] = _mm512_shuffle_i32x4(a, c, 0x88), out[1] = _mm512_shuffle_i32x4(b, d, 0x88);
  out[2] = _mm512_shuffle_i32x4(a, c, 0xdd), out[3] = _mm512_shuffle_i32x4(b, d, 0xdd);
}

// 16 rows of 16 words to 16 columns.
TL_AVX512_INLINE void transpose(__m512i* rows) {
  __m512i t[16];
  for (int i = 0; i < 4; ++i) {  // t[4 j + i]: of rows 4 i to 4 i + 3, columns j, j + 4, j + 8, j + 12
    __m512i quarter[4];
    transpose_quarters(rows + 4 * i, quarter);
    for (int j = 0; j < 4; ++j) t[4 * j + i] = quarter[j];
  }
  for (int j = 0; j < 4; ++j) {
    __m512i columns[4];
    transpose_groups(t + 4 * j, columns);
    for (int i = 0; i < 4; ++i) rows[4 * i + j] = columns[i];
  }
}

}  // namespace throughline::ops::avx512

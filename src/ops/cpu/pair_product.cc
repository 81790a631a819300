#include "ops/cpu/pair_product.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TL_BF16_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define TL_BF16_INLINE TL_BF16_TARGET inline __attribute__((always_inline))

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kLanes = 16, kRows = 8;

template <int kVectors>
TL_BF16_INLINE void tile(const uint32_t* a, int64_t a_row, int64_t a_step, const uint32_t* b, int64_t b_row,
                         int64_t depth, float* c, int64_t c_row, bool add) {
  __m512 acc[kRows][kVectors];
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kVectors; ++n)
      acc[m][n] = add ? _mm512_load_ps(c + m * c_row + n * kLanes) : _mm512_setzero_ps();
  }
  for (int64_t i = 0; i < depth; ++i) {
    __m512bh right[kVectors];
    for (int n = 0; n < kVectors; ++n) right[n] = (__m512bh)_mm512_load_si512(b + i * b_row + n * kLanes);
    for (int m = 0; m < kRows; ++m) {
      const __m512bh left = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[m * a_row + i * a_step]));
      for (int n = 0; n < kVectors; ++n) acc[m][n] = _mm512_dpbf16_ps(acc[m][n], left, right[n]);
    }
  }
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kVectors; ++n) _mm512_store_ps(c + m * c_row + n * kLanes, acc[m][n]);
  }
}

TL_BF16_TARGET void product(const uint32_t* a, int64_t a_row, int64_t a_step, const uint32_t* b, int64_t b_row,
                            int64_t depth_words, float* c, int64_t c_row, int64_t rows, int64_t vectors, bool add) {
  int64_t n = 0;
  for (; n + 2 <= vectors; n += 2) {
    for (int64_t m = 0; m < rows; m += kRows)
      tile<2>(a + m * a_row, a_row, a_step, b + n * kLanes, b_row, depth_words, c + m * c_row + n * kLanes, c_row, add);
  }
  if (n == vectors) return;
  for (int64_t m = 0; m < rows; m += kRows)
    tile<1>(a + m * a_row, a_row, a_step, b + n * kLanes, b_row, depth_words, c + m * c_row + n * kLanes, c_row, add);
}

}  // namespace

PairProduct pair_product() {
  static const bool supported = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                                __builtin_cpu_supports("avx512bf16");
  return supported ? product : nullptr;
}

}  // namespace throughline::ops::cpu

#else

namespace throughline::ops::cpu {
PairProduct pair_product() { return nullptr; }
}  // namespace throughline::ops::cpu

#endif

#include "ops/cpu/pair_product.h"

#if defined(__x86_64__)
#include "ops/cpu/avx512-inl.h"

#define TL_TARGET TL_AVX512("avx512bf16")

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kLanes = 16;
// Of a register tile of two vectors. More rows than there are registers for their addresses cost 4 % (12).
constexpr int kRows = 8;

template <int kM, int kN>
TL_TARGET __attribute__((noinline)) void tile(const uint32_t* a, int64_t a_row, int64_t a_step, const uint32_t* b,
                                              int64_t b_row, int64_t depth, float* c, int64_t c_row, bool add) {
  __m512 acc[kM * kN];
  TL_UNROLL
  for (int i = 0; i < kM * kN; ++i) acc[i] = _mm512_setzero_ps();
  if (add) {
    TL_UNROLL
    for (int i = 0; i < kM * kN; ++i) acc[i] = _mm512_load_ps(c + i / kN * c_row + i % kN * kLanes);
  }
  for (int64_t k = 0; k < depth; ++k) {
    __m512bh right[kN];
    TL_UNROLL
    for (int n = 0; n < kN; ++n) right[n] = (__m512bh)_mm512_load_si512(b + k * b_row + n * kLanes);
    TL_UNROLL
    for (int i = 0; i < kM * kN; ++i) {
      const __m512bh left = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[i / kN * a_row + k * a_step]));
      acc[i] = _mm512_dpbf16_ps(acc[i], left, right[i % kN]);
    }
  }
  TL_UNROLL
  for (int i = 0; i < kM * kN; ++i) _mm512_store_ps(c + i / kN * c_row + i % kN * kLanes, acc[i]);
}

template <int kN>
TL_TARGET void columns(const uint32_t* a, int64_t a_row, int64_t a_step, const uint32_t* b, int64_t b_row,
                       int64_t depth, float* c, int64_t c_row, int64_t rows, bool add) {
  int64_t m = 0;
  for (; m + kRows <= rows; m += kRows)
    tile<kRows, kN>(a + m * a_row, a_row, a_step, b, b_row, depth, c + m * c_row, c_row, add);
  for (; m + 4 <= rows; m += 4) tile<4, kN>(a + m * a_row, a_row, a_step, b, b_row, depth, c + m * c_row, c_row, add);
  for (; m < rows; ++m) tile<1, kN>(a + m * a_row, a_row, a_step, b, b_row, depth, c + m * c_row, c_row, add);
}

TL_TARGET void product(const uint32_t* a, int64_t a_row, int64_t a_step, const uint32_t* b, int64_t b_row,
                       int64_t depth_words, float* c, int64_t c_row, int64_t rows, int64_t vectors, bool add) {
  int64_t n = 0;
  for (; n + 2 <= vectors; n += 2)
    columns<2>(a, a_row, a_step, b + n * kLanes, b_row, depth_words, c + n * kLanes, c_row, rows, add);
  if (n < vectors) columns<1>(a, a_row, a_step, b + n * kLanes, b_row, depth_words, c + n * kLanes, c_row, rows, add);
}

TL_TARGET void across(const uint16_t* const* from, int64_t rows, int64_t depth, uint32_t* b, int64_t b_row) {
  for (int64_t n = 0; n < b_row; n += kLanes) {
    for (int64_t k = 0; k < depth; k += 2 * kLanes) {
      const int64_t words = (depth - k) / 2 < kLanes ? (depth - k) / 2 : kLanes;
      const auto mask = static_cast<__mmask16>((1U << words) - 1);
      __m512i block[16];
      for (int64_t r = 0; r < 16; ++r)
        block[r] = n + r < rows ? _mm512_maskz_loadu_epi32(mask, from[n + r] + k) : _mm512_setzero_si512();
      avx512::transpose(block);
      for (int64_t i = 0; i < words; ++i) _mm512_store_si512(b + (k / 2 + i) * b_row + n, block[i]);
    }
  }
}

TL_TARGET void along(const uint16_t* const* from, int64_t rows, int64_t depth, uint32_t* b) {
  alignas(64) uint16_t low[32], high[32];
  for (int i = 0; i < 32; ++i) {
    low[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
    high[i] = static_cast<uint16_t>(16 + i / 2 + i % 2 * 32);
  }
  const __m512i low_index = _mm512_load_si512(low), high_index = _mm512_load_si512(high);
  for (int64_t r = 0; r < rows; r += 2, b += depth) {
    for (int64_t e = 0; e < depth; e += 32) {
      const __m512i first = _mm512_loadu_si512(from[r] + e);
      const __m512i second = r + 1 < rows ? _mm512_loadu_si512(from[r + 1] + e) : _mm512_setzero_si512();
      _mm512_store_si512(b + e, _mm512_permutex2var_epi16(first, low_index, second));
      _mm512_store_si512(b + e + kLanes, _mm512_permutex2var_epi16(first, high_index, second));
    }
  }
}

}  // namespace

PairKernels pair_kernels_avx512_bf16() { return {product, across, along}; }

}  // namespace throughline::ops::cpu

#endif

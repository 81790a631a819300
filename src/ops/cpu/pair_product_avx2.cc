// pair_product() for processors without the instruction: pairs are widened to fp32, those of `a` once for all columns.
#include "ops/cpu/pair_product.h"

#if defined(__x86_64__)
#include <algorithm>

#include "ops/cpu/avx2-inl.h"

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kLanes = 8, kColumns = 2 * kLanes;
constexpr int64_t kRows = 6;                   // of a register tile of two vectors
constexpr int64_t kDepth = 256;                // words at a time: rows widened to 12 KiB
constexpr int64_t kWideRow = 2 * kDepth + 16;  // a power of two would fall into few cache sets

// sum += a * b. By asm, as g++ 12 else copies the sums of a tile to memory in each round of its loop.
TL_INLINE void add_product(__m256 a, __m256 b, __m256* sum) {
  asm("vfmadd231ps %2, %1, %0" : "+x"(*sum) : "x"(a), "x"(b));
}

TL_INLINE __m256 first_of_pairs(__m256i words) { return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16)); }
TL_INLINE __m256 second_of_pairs(__m256i words) {
  return _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(static_cast<int>(0xffff0000U))));
}

// Rows of words to fp32: of each 8 words the first elements, then the second. Zeros up to whole vectors.
TL_TARGET void widen(const uint32_t* a, int64_t a_row, int64_t a_step, int64_t rows, int64_t depth, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < depth; k += kLanes) {
      const uint32_t* from = a + r * a_row + k * a_step;
      alignas(32) uint32_t part[kLanes];
      if (a_step != 1 || k + kLanes > depth) {
        for (int64_t i = 0; i < kLanes; ++i) part[i] = k + i < depth ? from[i * a_step] : 0;
        from = part;
      }
      const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
      _mm256_store_ps(out + r * kWideRow + 2 * k, first_of_pairs(words));
      _mm256_store_ps(out + r * kWideRow + 2 * k + kLanes, second_of_pairs(words));
    }
  }
}

// kM widened rows against 16 columns.
template <int kM>
TL_TARGET __attribute__((noinline)) void tile(const float* a, const uint32_t* b, int64_t b_row, int64_t depth, float* c,
                                              int64_t c_row, bool add) {
  __m256 sums[kM][2];
  TL_UNROLL
  for (int m = 0; m < kM; ++m) {
    TL_UNROLL
    for (int n = 0; n < 2; ++n) sums[m][n] = add ? _mm256_loadu_ps(c + m * c_row + n * kLanes) : _mm256_setzero_ps();
  }
  for (int64_t k = 0; k < depth; ++k, b += b_row) {
    const __m256i words[2] = {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b)),
                              _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + kLanes))};
    const float* left = a + k / kLanes * 2 * kLanes + k % kLanes;
    __m256 right[2] = {first_of_pairs(words[0]), first_of_pairs(words[1])};
    TL_UNROLL
    for (int m = 0; m < kM; ++m) {
      const __m256 factor = _mm256_broadcast_ss(left + m * kWideRow);
      add_product(factor, right[0], &sums[m][0]);
      add_product(factor, right[1], &sums[m][1]);
    }
    right[0] = second_of_pairs(words[0]), right[1] = second_of_pairs(words[1]);
    TL_UNROLL
    for (int m = 0; m < kM; ++m) {
      const __m256 factor = _mm256_broadcast_ss(left + m * kWideRow + kLanes);
      add_product(factor, right[0], &sums[m][0]);
      add_product(factor, right[1], &sums[m][1]);
    }
  }
  TL_UNROLL
  for (int m = 0; m < kM; ++m) {
    TL_UNROLL
    for (int n = 0; n < 2; ++n) _mm256_storeu_ps(c + m * c_row + n * kLanes, sums[m][n]);
  }
}

using Tile = void (*)(const float* a, const uint32_t* b, int64_t b_row, int64_t depth, float* c, int64_t c_row,
                      bool add);
constexpr Tile kTiles[kRows] = {tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>};

TL_TARGET void product(const uint32_t* a, int64_t a_row, int64_t a_step, const uint32_t* b, int64_t b_row,
                       int64_t depth_words, float* c, int64_t c_row, int64_t rows, int64_t vectors, bool add) {
  alignas(64) float wide[kRows * kWideRow];
  for (int64_t m = 0; m < rows; m += kRows) {
    const int64_t count = std::min(kRows, rows - m);
    for (int64_t k = 0; k < depth_words || k == 0; k += kDepth) {
      const int64_t depth = std::min(kDepth, depth_words - k);
      widen(a + m * a_row + k * a_step, a_row, a_step, count, depth, wide);
      for (int64_t n = 0; n < vectors; ++n) {
        kTiles[count - 1](wide, b + k * b_row + n * kColumns, b_row, depth, c + m * c_row + n * kColumns, c_row,
                          add || k > 0);
      }
    }
  }
}

TL_TARGET void across(const uint16_t* const* from, int64_t rows, int64_t depth, uint32_t* b, int64_t b_row) {
  constexpr int64_t kBlock = 128;  // of the depth at a time: what is written stays in L1
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (int64_t block = 0; block < depth; block += kBlock) {
    const int64_t end = std::min(depth, block + kBlock);
    for (int64_t n = 0; n < b_row; n += kLanes) {
      for (int64_t k = block; k < end; k += 2 * kLanes) {
        const int64_t words = std::min((end - k) / 2, kLanes);
        const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(words)), lane);
        __m256i square[kLanes];
        TL_UNROLL
        for (int64_t r = 0; r < kLanes; ++r) {
          square[r] = _mm256_setzero_si256();
          if (n + r >= rows) continue;
          const uint16_t* p = from[n + r] + k;
          square[r] = _mm256_maskload_epi32(reinterpret_cast<const int*>(p), mask);
          if (end < depth) _mm_prefetch(p + kBlock, _MM_HINT_T0);
        }
        transpose(square);
        uint32_t* to = b + k / 2 * b_row + n;
        for (int64_t i = 0; i < words; ++i) _mm256_store_si256(reinterpret_cast<__m256i*>(to + i * b_row), square[i]);
      }
    }
  }
}

uint32_t pair(const uint16_t* first, const uint16_t* second) { return *first | uint32_t{*second} << 16; }

void along(const uint16_t* const* from, int64_t rows, int64_t depth, uint32_t* b) {
  static const uint16_t zero = 0;
  for (int64_t r = 0; r < rows; r += 2, b += depth) {
    for (int64_t e = 0; e < depth; ++e) b[e] = pair(from[r] + e, r + 1 < rows ? from[r + 1] + e : &zero);
  }
}

}  // namespace

PairKernels pair_kernels_avx2() { return {product, across, along}; }

}  // namespace throughline::ops::cpu

#endif

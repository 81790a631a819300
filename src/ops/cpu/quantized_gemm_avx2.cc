// As quantized_gemm_avx512_vnni.cc for processors without it. Intrinsics because Highway 1.0.3 has not the
// instructions.
#include "ops/cpu/quantized_gemm.h"

#if defined(__x86_64__)
#include <cstring>

#include "ops/cpu/avx2-inl.h"
#include "ops/cpu/cpu_limit.h"
#include "ops/cpu/quantized_gemm_tiles.h"

namespace throughline::ops::kernels {
namespace {

constexpr int64_t kWordBytes = 64;  // one word of each of a panel's rows
constexpr int64_t kHalf = 8;        // rows of a panel that a vector's words are of

// As add_words().
TL_INLINE void add_halves(__m256i* sums, __m256i x) { asm("vpaddw %1, %0, %0" : "+x"(*sums) : "x"(x)); }

// As many lines of the panel, or of those behind it, as are about to be read from it, into L2.
TL_INLINE void fetch(const uint8_t* w, int64_t lines) {
  constexpr int64_t kAheadBytes = 8 << 10;
  for (int64_t i = 0; i < lines; ++i) __builtin_prefetch(w + kAheadBytes + i * 64, /*write=*/0, /*L2 and below*/ 2);
}

// sums[half] += dots * scale
template <int kRows>
TL_INLINE void add_group(const QuantizedRows& x, int64_t at, const __m256i (*dots)[2], const __m256* scales,
                         __m256 (*sums)[2]) {
  TL_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const __m256 scale = _mm256_set1_ps(x.scales[at + r * x.groups]);
    const __m256i offset = _mm256_set1_epi32(x.offsets[at + r * x.groups]);
    TL_UNROLL
    for (int h = 0; h < 2; ++h) {
      const __m256 by = scales == nullptr ? scale : _mm256_mul_ps(scales[h], scale);
      sums[r][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(dots[r][h], offset)), by, sums[r][h]);
    }
  }
}

// Rows [row, row + kRows) of X against one panel: words of 16-bit numbers, two products a word.
template <int kRows>
TL_TARGET void int8_panel(const QuantizedRows& x, int64_t row, const uint8_t* w, const float* scales, float* c,
                          int64_t c_row) {
  __m256 sums[kRows][2];
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = _mm256_setzero_ps();
  const int64_t x_row = x.groups * kQuantGroup;
  const int8_t* values = x.values + row * x_row;
  for (int64_t g = 0; g < x.groups; ++g, w += 8 * kWordBytes, values += kQuantGroup) {
    alignas(32) int16_t wide[kRows][kQuantGroup];
    TL_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TL_UNROLL
      for (int i = 0; i < 2; ++i) {
        const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + r * x_row + 16 * i));
        _mm256_store_si256(reinterpret_cast<__m256i*>(wide[r] + 16 * i), _mm256_cvtepi8_epi16(part));
      }
    }
    if (row == 0) fetch(w, 8);
    __m256i dots[kRows][2];
    TL_UNROLL
    for (int h = 0; h < 2; ++h) {
      __m256i pairs[kRows][2];
      TL_UNROLL
      for (int r = 0; r < kRows; ++r) pairs[r][0] = pairs[r][1] = _mm256_setzero_si256();
      for (int i = 0; i < 8; ++i) {
        __m256i words[2];
        TL_UNROLL
        for (int v = 0; v < 2; ++v) {
          const auto* from = reinterpret_cast<const __m128i*>(w + i * kWordBytes + 32 * h + 16 * v);
          words[v] = _mm256_cvtepu8_epi16(_mm_loadu_si128(from));
        }
        TL_UNROLL
        for (int r = 0; r < kRows; ++r) {
          int64_t four;
          std::memcpy(&four, wide[r] + 4 * i, sizeof four);
          const __m256i numbers = _mm256_set1_epi64x(four);
          TL_UNROLL
          for (int v = 0; v < 2; ++v) add_words(&pairs[r][v], _mm256_madd_epi16(words[v], numbers));
        }
      }
      TL_UNROLL
      for (int r = 0; r < kRows; ++r)
        dots[r][h] = _mm256_permute4x64_epi64(_mm256_hadd_epi32(pairs[r][0], pairs[r][1]), 0xd8);
    }
    add_group<kRows>(x, row * x.groups + g, dots, nullptr, sums);
  }
  for (int r = 0; r < kRows; ++r) {
    for (int h = 0; h < 2; ++h)
      _mm256_storeu_ps(c + (row + r) * c_row + h * kHalf,
                       _mm256_mul_ps(sums[r][h], _mm256_loadu_ps(scales + h * kHalf)));
  }
}

// Four bits times eight, two products a 16-bit number: sums of a group's 16 stay under 16 * 15 * 127 < 2^15.
template <int kRows>
TL_TARGET void int4_panel(const QuantizedRows& x, int64_t row, const uint8_t* w, const uint16_t* scales, float* c,
                          int64_t c_row) {
  const __m256i low_bits = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  __m256 sums[kRows][2];
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = _mm256_setzero_ps();
  const int64_t x_row = x.groups * kQuantGroup;
  const int8_t* values = x.values + row * x_row;
  for (int64_t g = 0; g < x.groups; ++g, w += 4 * kWordBytes, values += kQuantGroup, scales += kPanelRows) {
    if (row == 0) fetch(w, 4);
    __m256i pairs[kRows][2], dots[kRows][2];
    TL_UNROLL
    for (int r = 0; r < kRows; ++r) pairs[r][0] = pairs[r][1] = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i) {
      TL_UNROLL
      for (int h = 0; h < 2; ++h) {
        const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + i * kWordBytes + 32 * h));
        const __m256i low = _mm256_and_si256(both, low_bits);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low_bits);
        TL_UNROLL
        for (int r = 0; r < kRows; ++r) {
          int32_t four[2];
          std::memcpy(four, values + r * x_row + 8 * i, sizeof four);
          add_halves(&pairs[r][h], _mm256_maddubs_epi16(low, _mm256_set1_epi32(four[0])));
          add_halves(&pairs[r][h], _mm256_maddubs_epi16(high, _mm256_set1_epi32(four[1])));
        }
      }
    }
    __m256 by[2];
    for (int h = 0; h < 2; ++h) {
      const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(scales + h * kHalf));
      by[h] = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
      for (int r = 0; r < kRows; ++r) dots[r][h] = _mm256_madd_epi16(pairs[r][h], ones);
    }
    add_group<kRows>(x, row * x.groups + g, dots, by, sums);
  }
  for (int r = 0; r < kRows; ++r) {
    for (int h = 0; h < 2; ++h) _mm256_storeu_ps(c + (row + r) * c_row + h * kHalf, sums[r][h]);
  }
}

constexpr PanelRows<float> kInt8Tiles[] = {int8_panel<1>, int8_panel<2>, int8_panel<4>};
constexpr PanelRows<uint16_t> kInt4Tiles[] = {int4_panel<1>, int4_panel<2>, int4_panel<4>};

void int8_all(const QuantizedRows& x, const uint8_t* w, const float* scales, int64_t panels, float* c, int64_t c_row) {
  all_panels(x, w, x.groups * 8 * kWordBytes, scales, kPanelRows, panels, c, c_row, kInt8Tiles);
}

void int4_all(const QuantizedRows& x, const uint8_t* w, const uint16_t* scales, int64_t panels, float* c,
              int64_t c_row) {
  all_panels(x, w, x.groups * 4 * kWordBytes, scales, x.groups * kPanelRows, panels, c, c_row, kInt4Tiles);
}

}  // namespace

Int8Gemm int8_gemm_avx2() { return cpu::has_avx2() ? int8_all : nullptr; }
Int4Gemm int4_gemm_avx2() { return cpu::has_avx2() ? int4_all : nullptr; }

}  // namespace throughline::ops::kernels

#else

namespace throughline::ops::kernels {
Int8Gemm int8_gemm_avx2() { return nullptr; }
Int4Gemm int4_gemm_avx2() { return nullptr; }
}  // namespace throughline::ops::kernels

#endif

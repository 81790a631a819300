// Intrinsics because Highway 1.0.3 has not the instruction.
#include "ops/cpu/quantized_gemm.h"

#if defined(__x86_64__)
#include <cstring>

#include "ops/cpu/avx512-inl.h"
#include "ops/cpu/cpu_limit.h"
#include "ops/cpu/page_heads.h"
#include "ops/cpu/quantized_gemm_tiles.h"

#define TL_TARGET TL_AVX512("avx512vnni")

namespace throughline::ops::kernels {
namespace {

constexpr int64_t kWordBytes = 64;  // one word of each of a panel's rows

TL_INLINE __m512i word_of(const int8_t* x) {
  int32_t word;
  std::memcpy(&word, x, sizeof word);
  return _mm512_set1_epi32(word);
}

// Rows [row, row + kRows) of X against one panel.
template <int kRows>
TL_TARGET void int8_panel(const QuantizedRows& x, int64_t row, const uint8_t* w, const float* scales, float* c,
                          int64_t c_row) {
  __m512 sums[kRows];
  for (int r = 0; r < kRows; ++r) sums[r] = _mm512_setzero_ps();
  const int64_t x_row = x.groups * kQuantGroup;
  const int8_t* values = x.values + row * x_row;
  for (int64_t g = 0; g < x.groups; ++g) {
    const int64_t at = row * x.groups + g;
    __m512i dots[kRows];
    for (int r = 0; r < kRows; ++r) dots[r] = _mm512_set1_epi32(x.offsets[at + r * x.groups]);
    if (row == 0) cpu::fetch_page_heads(w, 8 * kWordBytes);
    for (int i = 0; i < 8; ++i) {
      const __m512i words = _mm512_loadu_si512(w + i * kWordBytes);
      for (int r = 0; r < kRows; ++r)
        dots[r] = _mm512_dpbusd_epi32(dots[r], words, word_of(values + r * x_row + 4 * i));
    }
    w += 8 * kWordBytes;
    values += kQuantGroup;
    for (int r = 0; r < kRows; ++r) {
      sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[r]), _mm512_set1_ps(x.scales[at + r * x.groups]), sums[r]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    _mm512_storeu_ps(c + (row + r) * c_row, _mm512_mul_ps(sums[r], _mm512_loadu_ps(scales)));
}

template <int kRows>
TL_TARGET void int4_panel(const QuantizedRows& x, int64_t row, const uint8_t* w, const uint16_t* scales, float* c,
                          int64_t c_row) {
  const __m512i low_bits = _mm512_set1_epi8(15);
  __m512 sums[kRows];
  for (int r = 0; r < kRows; ++r) sums[r] = _mm512_setzero_ps();
  const int64_t x_row = x.groups * kQuantGroup;
  const int8_t* values = x.values + row * x_row;
  for (int64_t g = 0; g < x.groups; ++g) {
    const int64_t at = row * x.groups + g;
    __m512i dots[kRows];
    for (int r = 0; r < kRows; ++r) dots[r] = _mm512_set1_epi32(x.offsets[at + r * x.groups]);
    if (row == 0) cpu::fetch_page_heads(w, 4 * kWordBytes);
    for (int i = 0; i < 4; ++i) {
      const __m512i both = _mm512_loadu_si512(w + i * kWordBytes);
      const __m512i low = _mm512_and_si512(both, low_bits);
      const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_bits);
      for (int r = 0; r < kRows; ++r) {
        const int8_t* eight = values + r * x_row + 8 * i;
        dots[r] = _mm512_dpbusd_epi32(dots[r], low, word_of(eight));
        dots[r] = _mm512_dpbusd_epi32(dots[r], high, word_of(eight + 4));
      }
    }
    w += 4 * kWordBytes;
    values += kQuantGroup;
    const __m512i halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales)));
    const __m512 scale = _mm512_castsi512_ps(_mm512_slli_epi32(halves, 16));
    scales += kPanelRows;
    for (int r = 0; r < kRows; ++r) {
      const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[at + r * x.groups]));
      sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[r]), both, sums[r]);
    }
  }
  for (int r = 0; r < kRows; ++r) _mm512_storeu_ps(c + (row + r) * c_row, sums[r]);
}

constexpr PanelRows<float> kInt8Tiles[] = {int8_panel<1>, int8_panel<2>, int8_panel<4>, int8_panel<8>};
constexpr PanelRows<uint16_t> kInt4Tiles[] = {int4_panel<1>, int4_panel<2>, int4_panel<4>, int4_panel<8>};

void int8_all(const QuantizedRows& x, const uint8_t* w, const float* scales, int64_t panels, float* c, int64_t c_row) {
  all_panels(x, w, x.groups * 8 * kWordBytes, scales, kPanelRows, panels, c, c_row, kInt8Tiles);
}

void int4_all(const QuantizedRows& x, const uint8_t* w, const uint16_t* scales, int64_t panels, float* c,
              int64_t c_row) {
  all_panels(x, w, x.groups * 4 * kWordBytes, scales, x.groups * kPanelRows, panels, c, c_row, kInt4Tiles);
}

}  // namespace

Int8Gemm int8_gemm_avx512_vnni() { return cpu::has_avx512_vnni() ? int8_all : nullptr; }
Int4Gemm int4_gemm_avx512_vnni() { return cpu::has_avx512_vnni() ? int4_all : nullptr; }

}  // namespace throughline::ops::kernels

#else

namespace throughline::ops::kernels {
Int8Gemm int8_gemm_avx512_vnni() { return nullptr; }
Int4Gemm int4_gemm_avx512_vnni() { return nullptr; }
}  // namespace throughline::ops::kernels

#endif

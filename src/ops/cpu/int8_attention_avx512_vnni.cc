// Intrinsics because Highway 1.0.3 has not the instruction.
#include "ops/cpu/int8_attention.h"

#if defined(__x86_64__)
#include <algorithm>
#include <cstring>

#include "ops/cpu/avx512-inl.h"
#include "ops/cpu/cpu_limit.h"

#define TL_TARGET TL_AVX512("avx512vnni")

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kSlots = 16, kLanes = 16, kMostSlots = 256, kLine = 64;
constexpr float kQueryLimit = 127 * 256;  // so that both bytes are signed
constexpr float kWeightLimit = 65535;

TL_INLINE __m512i four_bytes(const void* from) {
  int32_t word;
  std::memcpy(&word, from, sizeof word);
  return _mm512_set1_epi32(word);
}

TL_INLINE __m512 load_query_part(const std::byte* from, bool bf16, int64_t i) {
  if (!bf16) return _mm512_loadu_ps(reinterpret_cast<const float*>(from) + i);
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 2 * i));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

// [head_dim] high bytes, [head_dim] low bytes, the scale, and 128 times the sum of the numbers: keys are multiplied
// with 128 added to them, as the instruction wants one side unsigned.
TL_TARGET void load_query(const std::byte* query, bool bf16, int64_t head_dim, float scale, std::byte* out) {
  __m512 largest = _mm512_setzero_ps(), bad = _mm512_setzero_ps();
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    const __m512 x = load_query_part(query, bf16, i);
    largest = _mm512_max_ps(largest, _mm512_abs_ps(x));
    bad = _mm512_fmadd_ps(x, _mm512_setzero_ps(), bad);  // NaN for whatever is not finite
  }
  const float most = _mm512_reduce_max_ps(largest);
  const __m512 factor = _mm512_set1_ps(most > 0 ? kQueryLimit / most : 0.0F);
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    const __m512i number = _mm512_cvtps_epi32(_mm512_mul_ps(load_query_part(query, bf16, i), factor));
    const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(number, _mm512_set1_epi32(128)), 8);
    const __m512i low = _mm512_sub_epi32(number, _mm512_slli_epi32(high, 8));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + head_dim + i), _mm512_cvtepi32_epi8(low));
    sum = _mm512_add_epi32(sum, number);
  }
  const float used_scale = most / kQueryLimit * scale + _mm512_reduce_add_ps(bad);
  const int32_t offset = 128 * _mm512_reduce_add_epi32(sum);
  std::memcpy(out + 2 * head_dim, &used_scale, sizeof used_scale);
  std::memcpy(out + 2 * head_dim + 4, &offset, sizeof offset);
}

// ---------------------------------------------------------------- scores

// 16 keys, 128 added, as words of four elements: word w of all of them is words + 16 w.
TL_INLINE void take_keys(const Int8ScoreTask& task, uint32_t* words) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  for (int64_t k = 0; k < task.head_dim; k += kInt8HeadDimStep, words += 16 * kLanes) {
    __m512i rows[kSlots];
    for (int64_t r = 0; r < kSlots; ++r) rows[r] = _mm512_xor_si512(_mm512_loadu_si512(task.rows[r] + k), flip);
    avx512::transpose(rows);
    for (int64_t i = 0; i < kSlots; ++i) _mm512_store_si512(words + i * kLanes, rows[i]);
  }
}

// kQueries queries against 16 keys. The first of them fetch a line of the coming keys a word: all at once would fill
// the core's few miss buffers, and memory would rest during the arithmetic (6 and 7 query heads: a quarter slower).
template <int kQueries>
TL_INLINE void scores_of(const Int8ScoreTask& task, const uint32_t* words, int64_t query) {
  const int64_t lines = query == 0 ? task.head_dim / kLine * kSlots : 0;
  int64_t fetched = 0;
  const std::byte* queries = task.queries + query * task.query_bytes;
  __m512i high[kQueries], low[kQueries];
  for (int q = 0; q < kQueries; ++q) high[q] = low[q] = _mm512_setzero_si512();
  for (int64_t k = 0; k < task.head_dim; k += 4, words += kLanes) {
    const __m512i keys = _mm512_load_si512(words);
    if (fetched < lines) {
      const std::byte* row = task.rows[fetched % kSlots + task.ahead];
      _mm_prefetch(reinterpret_cast<const char*>(row + fetched / kSlots * kLine), _MM_HINT_T1);
      ++fetched;
    }
    for (int q = 0; q < kQueries; ++q) {
      const std::byte* bytes = queries + q * task.query_bytes + k;
      high[q] = _mm512_dpbusd_epi32(high[q], keys, four_bytes(bytes));
      low[q] = _mm512_dpbusd_epi32(low[q], keys, four_bytes(bytes + task.head_dim));
    }
  }
  const __m512 key_scales = _mm512_loadu_ps(task.scales);
  for (int q = 0; q < kQueries; ++q) {
    float scale;
    int32_t offset;
    const std::byte* behind = queries + q * task.query_bytes + 2 * task.head_dim;
    std::memcpy(&scale, behind, sizeof scale);
    std::memcpy(&offset, behind + 4, sizeof offset);
    const __m512i both = _mm512_add_epi32(_mm512_slli_epi32(high[q], 8), low[q]);
    const __m512 total = _mm512_cvtepi32_ps(_mm512_sub_epi32(both, _mm512_set1_epi32(offset)));
    _mm512_storeu_ps(task.scores + (query + q) * task.stride,
                     _mm512_mul_ps(_mm512_mul_ps(total, _mm512_set1_ps(scale)), key_scales));
  }
}

// One or two queries: the keys' own words, and a tree of sums at the end, take less than turning keys into columns.
template <int kQueries>
TL_INLINE void few_scores(const Int8ScoreTask& task) {
  constexpr int kRows = static_cast<int>(kSlots) / kQueries;
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  float scale[kQueries];
  int32_t offset[kQueries];
  for (int q = 0; q < kQueries; ++q) {
    const std::byte* behind = task.queries + q * task.query_bytes + 2 * task.head_dim;
    std::memcpy(scale + q, behind, sizeof *scale);
    std::memcpy(offset + q, behind + 4, sizeof *offset);
  }
  for (int64_t slot = 0; slot < kSlots; slot += kRows) {
    __m512 ordered[kSlots];
    TL_UNROLL
    for (int first = 0; first < kRows; first += 4) {
      const std::byte* const* rows = task.rows + slot + first;
      __m512i high[kQueries][4], low[kQueries][4];
      for (int q = 0; q < kQueries; ++q) {
        for (int r = 0; r < 4; ++r) high[q][r] = low[q][r] = _mm512_setzero_si512();
      }
      for (int64_t k = 0; k < task.head_dim; k += kInt8HeadDimStep) {
        __m512i keys[4];
        for (int r = 0; r < 4; ++r) {
          keys[r] = _mm512_xor_si512(_mm512_loadu_si512(rows[r] + k), flip);
          _mm_prefetch(reinterpret_cast<const char*>(rows[r + task.ahead] + k), _MM_HINT_T1);
        }
        for (int q = 0; q < kQueries; ++q) {
          const std::byte* bytes = task.queries + q * task.query_bytes + k;
          const __m512i upper = _mm512_loadu_si512(bytes), lower = _mm512_loadu_si512(bytes + task.head_dim);
          for (int r = 0; r < 4; ++r) high[q][r] = _mm512_dpbusd_epi32(high[q][r], keys[r], upper);
          for (int r = 0; r < 4; ++r) low[q][r] = _mm512_dpbusd_epi32(low[q][r], keys[r], lower);
        }
      }
      TL_UNROLL
      for (int q = 0; q < kQueries; ++q) {
        TL_UNROLL
        for (int r = 0; r < 4; ++r) {
          const int lane = q * kRows + first + r;
          const __m512i both = _mm512_add_epi32(_mm512_slli_epi32(high[q][r], 8), low[q][r]);
          ordered[lane % 4 * 4 + lane / 4] = _mm512_castsi512_ps(both);
        }
      }
    }
    alignas(64) int32_t sums[kSlots];
    _mm512_store_ps(sums, avx512::sums_of_lanes<avx512::Words>(ordered));
    for (int q = 0; q < kQueries; ++q) {
      const auto used = static_cast<__mmask16>((1U << kRows) - 1);
      const __m512i sum = _mm512_maskz_loadu_epi32(used, sums + q * kRows);
      const __m512 total = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, _mm512_set1_epi32(offset[q])));
      const __m512 scales = _mm512_maskz_loadu_ps(used, task.scales + slot);
      _mm512_mask_storeu_ps(task.scores + q * task.stride + slot, used,
                            _mm512_mul_ps(_mm512_mul_ps(total, _mm512_set1_ps(scale[q])), scales));
    }
  }
}

TL_TARGET void scores(const Int8ScoreTask& task) {
  if (task.query_count == 1) return few_scores<1>(task);
  if (task.query_count == 2) return few_scores<2>(task);
  alignas(64) uint32_t words[kInt8MostHeadDim / 4 * kLanes];
  take_keys(task, words);
  int64_t q = 0;
  for (; q + 4 <= task.query_count; q += 4) scores_of<4>(task, words, q);
  switch (task.query_count - q) {
    case 3:
      return scores_of<3>(task, words, q);
    case 2:
      return scores_of<2>(task, words, q);
    case 1:
      return scores_of<1>(task, words, q);
    default:
      return;
  }
}

// ---------------------------------------------------------------- values

// Weights times scales as bytes, by slot.
struct ByteWeights {
  alignas(64) uint8_t high[kMostSlots], low[kMostSlots];
  float scale;
};

TL_INLINE void round_weights(const float* weights, const float* scales, int64_t seen, int64_t slots, ByteWeights* out) {
  __m512 products[kMostSlots / kLanes], largest = _mm512_setzero_ps(), bad = _mm512_setzero_ps();
  for (int64_t i = 0; i < slots; i += kLanes) {
    const int64_t left = std::clamp<int64_t>(seen - i, 0, kLanes);
    const auto used = static_cast<__mmask16>((1U << left) - 1);
    const __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(used, weights + i), _mm512_maskz_loadu_ps(used, scales + i));
    products[i / kLanes] = x;
    largest = _mm512_max_ps(largest, x);
    bad = _mm512_fmadd_ps(x, _mm512_setzero_ps(), bad);
  }
  const float most = _mm512_reduce_max_ps(largest);
  const __m512 factor = _mm512_set1_ps(most > 0 ? kWeightLimit / most : 0.0F);
  for (int64_t i = 0; i < slots; i += kLanes) {
    const __m512i number = _mm512_cvtps_epi32(_mm512_mul_ps(products[i / kLanes], factor));
    const __m512i high = _mm512_srli_epi32(number, 8);
    _mm_store_si128(reinterpret_cast<__m128i*>(out->high + i), _mm512_cvtepi32_epi8(high));
    _mm_store_si128(reinterpret_cast<__m128i*>(out->low + i), _mm512_cvtepi32_epi8(number));
  }
  out->scale = most / kWeightLimit + _mm512_reduce_add_ps(bad);
}

// 64 elements from `e` on, of which kVectors of four vectors from `first_vector`: lane group L of vector i is elements
// 16 L + 4 i to 16 L + 4 i + 3.
template <int kQueries, int kVectors>
TL_INLINE void sum_values(const Int8ValueTask& task, const ByteWeights* weights, int64_t slots, int64_t e,
                          int first_vector, int64_t ahead) {
  __m512i high[kQueries][kVectors], low[kQueries][kVectors];
  for (int q = 0; q < kQueries; ++q) {
    for (int i = 0; i < kVectors; ++i) high[q][i] = low[q][i] = _mm512_setzero_si512();
  }
  for (int64_t slot = 0; slot < slots; slot += 4) {
    __m512i rows[4], mixed[kVectors];
    for (int r = 0; r < 4; ++r) {
      rows[r] = _mm512_loadu_si512(task.rows[slot + r] + e);
      if (ahead != 0) _mm_prefetch(reinterpret_cast<const char*>(task.rows[slot + r + ahead] + e), _MM_HINT_T1);
    }
    for (int i = 0; i < kVectors; i += 2) {
      const bool upper = first_vector + i >= 2;
      const __m512i ab = upper ? _mm512_unpackhi_epi8(rows[0], rows[1]) : _mm512_unpacklo_epi8(rows[0], rows[1]);
      const __m512i cd = upper ? _mm512_unpackhi_epi8(rows[2], rows[3]) : _mm512_unpacklo_epi8(rows[2], rows[3]);
      mixed[i] = _mm512_unpacklo_epi16(ab, cd);
      mixed[i + 1] = _mm512_unpackhi_epi16(ab, cd);
    }
    for (int q = 0; q < kQueries; ++q) {
      const __m512i upper = four_bytes(weights[q].high + slot), lower = four_bytes(weights[q].low + slot);
      for (int i = 0; i < kVectors; ++i) {
        high[q][i] = _mm512_dpbusd_epi32(high[q][i], upper, mixed[i]);
        low[q][i] = _mm512_dpbusd_epi32(low[q][i], lower, mixed[i]);
      }
    }
  }
  for (int q = 0; q < kQueries; ++q) {
    float* out = task.sums + q * task.sums_stride + e;
    for (int i = 0; i < kVectors; ++i) {
      const __m512i total = _mm512_add_epi32(_mm512_slli_epi32(high[q][i], 8), low[q][i]);
      const __m512 sums = _mm512_mul_ps(_mm512_cvtepi32_ps(total), _mm512_set1_ps(weights[q].scale));
      float* place = out + 4 * (first_vector + i);
      _mm_storeu_ps(place, _mm512_extractf32x4_ps(sums, 0));
      _mm_storeu_ps(place + 16, _mm512_extractf32x4_ps(sums, 1));
      _mm_storeu_ps(place + 32, _mm512_extractf32x4_ps(sums, 2));
      _mm_storeu_ps(place + 48, _mm512_extractf32x4_ps(sums, 3));
    }
  }
}

template <int kQueries>
TL_TARGET void values_of(const Int8ValueTask& task) {
  ByteWeights weights[kQueries];
  int64_t most = 0;
  for (int q = 0; q < kQueries; ++q) most = std::max(most, task.seen[q]);
  const int64_t slots = (most + kLanes - 1) / kLanes * kLanes;
  for (int q = 0; q < kQueries; ++q)
    round_weights(task.weights + q * task.stride, task.scales, task.seen[q], slots, weights + q);
  for (int64_t e = 0; e < task.head_dim; e += kInt8HeadDimStep) {
    if constexpr (kQueries == 4) {
      sum_values<4, 2>(task, weights, slots, e, 0, task.ahead);
      sum_values<4, 2>(task, weights, slots, e, 2, 0);
    } else {
      sum_values<kQueries, 4>(task, weights, slots, e, 0, task.ahead);
    }
  }
}

TL_TARGET void values(const Int8ValueTask& task) {
  switch (task.query_count) {
    case 1:
      return values_of<1>(task);
    case 2:
      return values_of<2>(task);
    case 3:
      return values_of<3>(task);
    default:
      return values_of<4>(task);
  }
}

}  // namespace

const Int8Attention* int8_attention() {
  static const Int8Attention all{load_query, scores, values};
  static const bool supported = has_avx512_vnni();
  return supported ? &all : nullptr;
}

}  // namespace throughline::ops::cpu

#else

namespace throughline::ops::cpu {
const Int8Attention* int8_attention() { return nullptr; }
}  // namespace throughline::ops::cpu

#endif

// As int8_attention_avx512_vnni.cc for processors without it: products of 16-bit numbers, two a word. Intrinsics
// because Highway 1.0.3 has not the instruction.
#include "ops/cpu/int8_attention.h"

#if defined(__x86_64__)
#include <algorithm>
#include <cstring>

#include "ops/cpu/avx2-inl.h"
#include "ops/cpu/exp2.h"
#include "ops/cpu/int8_attention_groups.h"

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kLanes = 8;
constexpr float kQueryLimit = 32767, kWeightLimit = 32767;
static_assert(int64_t{32767} * 255 * kInt8MostHeadDim < int64_t{1} << 31);
static_assert(int64_t{32767} * 128 * kAttentionBlockSlots < int64_t{1} << 31);
static_assert(kInt8Keys.tokens == 16 && kInt8Keys.together == 4 && kInt8Values.tokens == 4);

// ---------------------------------------------------------------- vectors

TL_INLINE float highest_lane(__m256 x) {
  __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_max_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

TL_INLINE float sum_of_lanes(__m256 x) {
  __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}

// All bits in the lanes before `count`.
TL_INLINE __m256i first_of(int64_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(std::clamp<int64_t>(count, 0, kLanes))), lanes);
}

// 2^x for x <= 0, by kExp2; 2^-126 stands for all that is less.
TL_INLINE __m256 exp2_of(__m256 x) {
  const __m256 in_range = _mm256_max_ps(_mm256_set1_ps(-126), x);  // in this order NaN stays
  const __m256 whole = _mm256_floor_ps(in_range), f = _mm256_sub_ps(in_range, whole);
  __m256 y = _mm256_set1_ps(kExp2[0]);
  TL_UNROLL
  for (int i = 1; i < 6; ++i) y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(kExp2[i]));
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
  return _mm256_mul_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

// Four 16-bit numbers, for every group of four.
TL_INLINE __m256i four_numbers(const void* from) {
  int64_t numbers;
  std::memcpy(&numbers, from, sizeof numbers);
  return _mm256_set1_epi64x(numbers);
}

// The sums of neighbouring words of a, then of b.
TL_INLINE __m256i pair_sums(__m256i a, __m256i b) { return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8); }

// ---------------------------------------------------------------- queries

constexpr int64_t kEnd = 2 * kInt8MostHeadDim;
struct QueryEnd {
  float scale;
  int32_t offset;  // 128 times the sum of the numbers, for the 128 added to keys
};
static_assert(kEnd + sizeof(QueryEnd) <= kInt8QueryBytes);

TL_INLINE __m256 load_query_part(const std::byte* from, bool bf16, int64_t i) {
  if (!bf16) return _mm256_loadu_ps(reinterpret_cast<const float*>(from) + i);
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

TL_TARGET void load_query(const std::byte* query, bool bf16, int64_t head_dim, float scale, std::byte* out) {
  __m256 largest = _mm256_setzero_ps(), bad = _mm256_setzero_ps();
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    const __m256 x = load_query_part(query, bf16, i);
    largest = _mm256_max_ps(largest, _mm256_andnot_ps(_mm256_set1_ps(-0.0F), x));
    bad = _mm256_fmadd_ps(x, _mm256_setzero_ps(), bad);  // NaN for whatever is not finite
  }
  const float most = highest_lane(largest);
  const __m256 factor = _mm256_set1_ps(most > 0 ? kQueryLimit / most : 0.0F);
  int32_t sum = 0;
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    alignas(32) int32_t words[kLanes];
    const __m256i numbers = _mm256_cvtps_epi32(_mm256_mul_ps(load_query_part(query, bf16, i), factor));
    _mm256_store_si256(reinterpret_cast<__m256i*>(words), numbers);
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const auto number = static_cast<int16_t>(words[lane]);
      std::memcpy(out + 2 * (i + lane), &number, sizeof number);
      sum += number;
    }
  }
  const QueryEnd end{most / kQueryLimit * scale + sum_of_lanes(bad), 128 * sum};
  std::memcpy(out + kEnd, &end, sizeof end);
}

TL_INLINE QueryEnd query_end(const Int8ScoreTask& task, int64_t query) {
  QueryEnd out;
  std::memcpy(&out, task.queries + query * kInt8QueryBytes + kEnd, sizeof out);
  return out;
}

// ---------------------------------------------------------------- scores and values

// Vectors of four tokens of keys, or elements of values, at a time: sums fill the registers.
template <int kQueries>
constexpr int kVectors = kQueries > 3 ? 2 : 4;
constexpr int64_t kVectorBytes = 16;

// To each query's sums the products of `wide` with its four numbers, `stride` apart.
template <int kQueries, int kV, class T>
TL_INLINE void add_all(const __m256i* wide, const T* factors, int64_t stride, __m256i (*sums)[kV]) {
  TL_UNROLL
  for (int q = 0; q < kQueries; ++q) {
    const __m256i numbers = four_numbers(factors + q * stride);
    TL_UNROLL
    for (int v = 0; v < kV; ++v) add_words(&sums[q][v], _mm256_madd_epi16(wide[v], numbers));
  }
}

// kQueries queries against the tile of keys from `slot` on.
template <int kQueries>
TL_TARGET void scores_of(const Int8ScoreTask& task, int64_t query, int64_t slot) {
  constexpr int kV = kVectors<kQueries>;
  constexpr int64_t kTileWord = kInt8Keys.tokens * kInt8Keys.together;
  for (int64_t part = 0; part < kTileWord; part += kV * kVectorBytes) {
    const std::byte *queries = task.queries + query * kInt8QueryBytes, *keys = task.rows[slot] + part;
    __m256i sums[kQueries][kV];
    TL_UNROLL
    for (int q = 0; q < kQueries; ++q) {
      TL_UNROLL
      for (int v = 0; v < kV; ++v) sums[q][v] = _mm256_setzero_si256();
    }
    const std::byte* ahead = query + part == 0 ? task.rows[slot + task.ahead] : keys;
    for (int64_t e = 0; e < task.head_dim; e += kInt8Keys.together) {
      __builtin_prefetch(ahead, /*write=*/0, /*L2 and below*/ 2);
      __m256i wide[kV];
      TL_UNROLL
      for (int v = 0; v < kV; ++v)
        wide[v] = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(keys + v * kVectorBytes)));
      add_all<kQueries, kV>(wide, queries, kInt8QueryBytes, sums);
      queries += kInt8Keys.together * sizeof(int16_t), keys += kTileWord, ahead += kTileWord;
    }
    TL_UNROLL
    for (int q = 0; q < kQueries; ++q) {
      const QueryEnd end = query_end(task, query + q);
      TL_UNROLL
      for (int v = 0; v < kV; v += 2) {
        const int64_t at = slot + part / kInt8Keys.together + v / 2 * kLanes;
        const __m256i sum = _mm256_sub_epi32(pair_sums(sums[q][v], sums[q][v + 1]), _mm256_set1_epi32(end.offset));
        const __m256 total = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(end.scale));
        _mm256_storeu_ps(task.scores + (query + q) * kAttentionBlockSlots + at,
                         _mm256_mul_ps(total, _mm256_loadu_ps(task.scales + at)));
      }
    }
  }
}

constexpr Int8ScoresOf kScoresOf[] = {scores_of<1>, scores_of<2>, scores_of<3>,
                                      scores_of<4>, scores_of<5>, scores_of<6>};

void scores(const Int8ScoreTask& task) { scores_in_groups(task, kScoresOf); }

// ---------------------------------------------------------------- softmax

// How a query's weights lie in place of its scores: in four slots' room four 16-bit numbers; and in the room of slot
// kStepAt what one of them is worth.
constexpr int64_t kStepAt = 2;

// Factors that bring weights times scales of V, up to the block's largest, to 15 bits; and what one is worth then.
struct WeightFactors {
  alignas(64) float factors[kAttentionBlockSlots];
  float step;

  TL_INLINE void fill(const float* scales, int64_t slots) {
    __m256 largest = _mm256_setzero_ps(), bad = _mm256_setzero_ps();
    for (int64_t i = 0; i < slots; i += kLanes) {
      const __m256 scale = _mm256_maskload_ps(scales + i, first_of(slots - i));
      largest = _mm256_max_ps(largest, scale);
      bad = _mm256_fmadd_ps(scale, _mm256_setzero_ps(), bad);  // NaN for whatever is not finite
    }
    const float most = highest_lane(largest);
    const __m256 factor = _mm256_set1_ps(most > 0 ? kWeightLimit / most : 0.0F);
    for (int64_t i = 0; i < slots; i += kLanes)
      _mm256_store_ps(factors + i, _mm256_mul_ps(_mm256_maskload_ps(scales + i, first_of(slots - i)), factor));
    step = most / kWeightLimit + sum_of_lanes(bad);
  }
};

TL_INLINE void soften(float* scores, int64_t seen, int64_t slots, const WeightFactors& by, float* highest, float* total,
                      LineFetcher* fetcher) {
  constexpr float kNoScore = -3.0e38F, kLog2E = 1.44269504089F;
  __m256 top = _mm256_set1_ps(kNoScore);
  int64_t i = 0;
  for (; i + kLanes <= seen; i += kLanes) top = _mm256_max_ps(top, _mm256_loadu_ps(scores + i));
  for (; i < seen; ++i) top = _mm256_max_ps(top, _mm256_set1_ps(scores[i]));
  *highest = highest_lane(top);
  __m256 sum = _mm256_setzero_ps();
  for (i = 0; i < seen; i += kLanes) {
    const __m256 below = _mm256_sub_ps(_mm256_loadu_ps(scores + i), _mm256_set1_ps(*highest));
    __m256 weights = exp2_of(_mm256_mul_ps(below, _mm256_set1_ps(kLog2E)));
    if (i + kLanes > seen) weights = _mm256_and_ps(weights, _mm256_castsi256_ps(first_of(seen - i)));
    const __m256i numbers = _mm256_cvtps_epi32(_mm256_mul_ps(weights, _mm256_load_ps(by.factors + i)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(scores + i), _mm256_packs_epi32(numbers, numbers));
    sum = _mm256_add_ps(sum, weights);
    fetcher->next();
  }
  for (; i < slots; i += kLanes) _mm256_storeu_ps(scores + i, _mm256_setzero_ps());
  scores[kStepAt] = by.step;
  *total = sum_of_lanes(sum);
}

// ---------------------------------------------------------------- values

template <int kQueries>
TL_TARGET void values_of(const Int8ValueTask& task, int64_t query, LineFetcher* fetcher) {
  LineFetcher lines = *fetcher;  // in registers
  constexpr int kV = kVectors<kQueries>;
  const int64_t slots = (task.seen[query + kQueries - 1] + kInt8Values.tokens - 1) / kInt8Values.tokens;
  for (int64_t e = 0; e < task.head_dim; e += kV * kVectorBytes / kInt8Values.tokens) {
    const float* weights = task.scores + query * kAttentionBlockSlots;
    __m256i sums[kQueries][kV];
    TL_UNROLL
    for (int q = 0; q < kQueries; ++q) {
      TL_UNROLL
      for (int v = 0; v < kV; ++v) sums[q][v] = _mm256_setzero_si256();
    }
    for (int64_t tile = 0; tile < slots; ++tile, weights += kInt8Values.tokens) {
      const std::byte* values = task.rows[tile * kInt8Values.tokens] + kInt8Values.offset(0, e);
      lines.next();
      __m256i wide[kV];
      TL_UNROLL
      for (int v = 0; v < kV; ++v)
        wide[v] = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values + v * kVectorBytes)));
      add_all<kQueries, kV>(wide, weights, kAttentionBlockSlots, sums);
    }
    TL_UNROLL
    for (int q = 0; q < kQueries; ++q) {
      const __m256 step = _mm256_set1_ps(task.scores[(query + q) * kAttentionBlockSlots + kStepAt]);
      TL_UNROLL
      for (int v = 0; v < kV; v += 2) {
        const __m256 total = _mm256_cvtepi32_ps(pair_sums(sums[q][v], sums[q][v + 1]));
        _mm256_storeu_ps(task.sums + (query + q) * task.sums_stride + e + v / 2 * kLanes, _mm256_mul_ps(total, step));
      }
    }
  }
  *fetcher = lines;
}

constexpr Int8SumsOf kValuesOf[] = {values_of<1>, values_of<2>, values_of<3>, values_of<4>, values_of<5>, values_of<6>};

TL_TARGET void values(const Int8ValueTask& task) {
  const int64_t most = task.seen[task.query_count - 1], slots = (most + kLanes - 1) / kLanes * kLanes;
  const int64_t lines = slots * task.head_dim / kLine;
  LineFetcher fetcher{task.rows + task.ahead, task.ahead != 0 ? lines : 0, task.head_dim};
  WeightFactors factors;  // of as many slots as the query at hand sees
  for (int64_t q = 0; q < task.query_count; ++q) {
    const int64_t seen = task.seen[q];
    if (q == 0 || seen != task.seen[q - 1]) factors.fill(task.scales, seen);
    soften(task.scores + q * kAttentionBlockSlots, seen, slots, factors, task.highest + q, task.total + q, &fetcher);
  }
  const bool narrow = task.query_count > 3;  // groups of over three, for which half a line is read between two calls
  sums_in_groups(task, kValuesOf, narrow ? 2 * lines : lines, &fetcher);
}

}  // namespace

const Int8Attention* int8_attention_avx2() {
  static const Int8Attention all{load_query, scores, values};
  return &all;
}

}  // namespace throughline::ops::cpu

#endif

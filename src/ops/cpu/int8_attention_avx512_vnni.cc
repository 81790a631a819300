// Intrinsics because Highway 1.0.3 has not the instruction.
#include "ops/cpu/int8_attention.h"

#if defined(__x86_64__)
#include <algorithm>
#include <cstring>

#include "ops/cpu/avx512-inl.h"
#include "ops/cpu/int8_attention_groups.h"

#define TL_TARGET TL_AVX512("avx512vnni")

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kLanes = 16;
static_assert(kInt8Keys.tokens == kLanes && kInt8Keys.together == 4 && kInt8Values.tokens == 4);
constexpr float kQueryLimit = 127;
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

// Behind a query's numbers, from kEnd on: its scale, and 128 times the sum of the numbers: keys are multiplied with 128
// added to them, as the instruction wants one side unsigned.
constexpr int64_t kEnd = kInt8MostHeadDim;
struct QueryEnd {
  float scale;
  int32_t offset;
};
static_assert(kEnd + sizeof(QueryEnd) <= kInt8QueryBytes);

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
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm512_cvtepi32_epi8(number));
    sum = _mm512_add_epi32(sum, number);
  }
  const QueryEnd end{most / kQueryLimit * scale + _mm512_reduce_add_ps(bad), 128 * _mm512_reduce_add_epi32(sum)};
  std::memcpy(out + kEnd, &end, sizeof end);
}

TL_INLINE QueryEnd query_end(const Int8ScoreTask& task, int64_t query) {
  QueryEnd out;
  std::memcpy(&out, task.queries + query * kInt8QueryBytes + kEnd, sizeof out);
  return out;
}

// Adds products of unsigned and signed bytes, four a word. Not by the intrinsic: g++ 12 then copies the sums of a large
// tile to memory in each round of its loop.
TL_INLINE void add_products(__m512i* sums, __m512i a, __m512i b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(*sums) : "v"(a), "v"(b));
}

// ---------------------------------------------------------------- scores

// kQueries queries against the tile of keys from `slot` on.
template <int kQueries>
TL_TARGET void scores_of(const Int8ScoreTask& task, int64_t query, int64_t slot) {
  constexpr int kParts = kQueries == 1 ? 4 : kQueries < 5 ? 2 : 1;  // so many that each is ready when its turn comes
  const std::byte* queries = task.queries + query * kInt8QueryBytes;
  const std::byte *keys = task.rows[slot], *ahead = query == 0 ? task.rows[slot + task.ahead] : keys;
  __m512i sums[kQueries][kParts];
  TL_UNROLL
  for (int q = 0; q < kQueries; ++q) {
    TL_UNROLL
    for (int i = 1; i < kParts; ++i) sums[q][i] = _mm512_setzero_si512();
    sums[q][0] = _mm512_set1_epi32(-query_end(task, query + q).offset);
  }
  constexpr int64_t kTogether = kInt8Keys.together, kWords = 4;  // a round's
  for (int64_t e = 0; e < task.head_dim; e += kWords * kTogether) {
    TL_UNROLL
    for (int64_t i = 0; i < kWords; ++i) {
      __builtin_prefetch(ahead, /*write=*/0, /*L2 and below*/ 2);
      const __m512i words = _mm512_loadu_si512(keys);
      TL_UNROLL
      for (int q = 0; q < kQueries; ++q)
        add_products(&sums[q][i % kParts], words, four_bytes(queries + q * kInt8QueryBytes));
      queries += kTogether, keys += kLine, ahead += kLine;
    }
  }
  const __m512 key_scales = _mm512_loadu_ps(task.scales + slot);
  TL_UNROLL
  for (int q = 0; q < kQueries; ++q) {
    __m512i sum = sums[q][0];
    TL_UNROLL
    for (int i = 1; i < kParts; ++i) sum = _mm512_add_epi32(sum, sums[q][i]);
    const __m512 total = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(query_end(task, query + q).scale));
    _mm512_storeu_ps(task.scores + (query + q) * kAttentionBlockSlots + slot, _mm512_mul_ps(total, key_scales));
  }
}

// The sums of eight fill half of the registers.
constexpr Int8ScoresOf kScoresOf[] = {scores_of<1>, scores_of<2>, scores_of<3>, scores_of<4>,
                                      scores_of<5>, scores_of<6>, scores_of<7>, scores_of<8>};

void scores(const Int8ScoreTask& task) { scores_in_groups(task, kScoresOf); }

// ---------------------------------------------------------------- softmax

// How a query's weights lie in place of its scores: in four slots' room the four high bytes, then the four low bytes;
// and in the room of slot kStepAt what one of them is worth.
constexpr int64_t kStepAt = 2;

// Factors that bring weights times scales of V, up to the block's largest, to 16 bits; and what one is worth then.
struct WeightFactors {
  alignas(64) float factors[kAttentionBlockSlots];
  float step;

  TL_INLINE void fill(const float* scales, int64_t slots) {
    __m512 largest = _mm512_setzero_ps(), bad = _mm512_setzero_ps();
    for (int64_t i = 0; i < slots; i += kLanes) {
      const __m512 scale = _mm512_maskz_loadu_ps(avx512::Softmax::first_of(slots - i), scales + i);
      largest = _mm512_max_ps(largest, scale);
      bad = _mm512_fmadd_ps(scale, _mm512_setzero_ps(), bad);  // NaN for whatever is not finite
    }
    const float most = _mm512_reduce_max_ps(largest);
    const __m512 factor = _mm512_set1_ps(most > 0 ? kWeightLimit / most : 0.0F);
    for (int64_t i = 0; i < slots; i += kLanes) {
      const __m512 scale = _mm512_maskz_loadu_ps(avx512::Softmax::first_of(slots - i), scales + i);
      _mm512_store_ps(factors + i, _mm512_mul_ps(scale, factor));
    }
    step = most / kWeightLimit + _mm512_reduce_add_ps(bad);
  }
};

TL_INLINE void soften(float* scores, int64_t seen, int64_t slots, const WeightFactors& by, float* highest, float* total,
                      LineFetcher* fetcher) {
  const __m512i bytes = _mm512_broadcast_i32x4(_mm_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, 12, 8, 4, 0, 13, 9, 5, 1));
  const avx512::Softmax softmax(scores, seen);
  __m512 sum = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i < seen; i += kLanes) {
    const __m512 weights = softmax.weights(scores, i);
    const __m512i numbers = _mm512_cvtps_epi32(_mm512_mul_ps(weights, _mm512_load_ps(by.factors + i)));
    _mm512_store_si512(scores + i, _mm512_shuffle_epi8(numbers, bytes));
    sum = _mm512_add_ps(sum, weights);
    fetcher->next();
  }
  for (; i < slots; i += kLanes) _mm512_store_ps(scores + i, _mm512_setzero_ps());
  scores[kStepAt] = by.step;
  *highest = softmax.highest;
  *total = _mm512_reduce_add_ps(sum);
}

// ---------------------------------------------------------------- values

// Rows are read in stripes, so many slots at a time: their products, 65535 * 128 at most, fit 32 bits.
constexpr int64_t kTogetherSlots = 256;

// Adds to kVectors * 16 elements what the tiles of `rows` give.
template <int kQueries, int kVectors>
TL_INLINE void sum_values(const std::byte* const* rows, int64_t e, int64_t slots, const float* weights,
                          const float* steps, LineFetcher* fetcher, float* sums, int64_t sums_stride) {
  constexpr int kSums = kQueries * kVectors;
  __m512i high[kSums], low[kSums];
  TL_UNROLL
  for (int n = 0; n < kSums; ++n) high[n] = low[n] = _mm512_setzero_si512();
  for (int64_t slot = 0; slot < slots; slot += kInt8Values.tokens) {
    const std::byte* tile = rows[slot] + kInt8Values.offset(0, e);
    __m512i values[kVectors];
    TL_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      values[i] = _mm512_loadu_si512(tile + i * kLine);
      fetcher->next();
    }
    TL_UNROLL
    for (int n = 0; n < kSums; ++n) {
      const float* weight = weights + n / kVectors * kAttentionBlockSlots + slot;
      add_products(&high[n], four_bytes(weight), values[n % kVectors]);
      add_products(&low[n], four_bytes(weight + 1), values[n % kVectors]);
    }
  }
  TL_UNROLL
  for (int n = 0; n < kSums; ++n) {
    const __m512 total = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high[n], 8), low[n]));
    float* sum = sums + n / kVectors * sums_stride + e + n % kVectors * kLanes;
    const __m512 scale = _mm512_set1_ps(steps[n / kVectors]);
    _mm512_storeu_ps(sum, _mm512_fmadd_ps(total, scale, _mm512_loadu_ps(sum)));
  }
}

template <int kQueries>
TL_TARGET void values_of(const Int8ValueTask& task, int64_t query, LineFetcher* fetcher) {
  LineFetcher lines = *fetcher;                   // in registers
  constexpr int kVectors = kQueries > 3 ? 2 : 4;  // sums fill the registers
  float* sums = task.sums + query * task.sums_stride;
  float steps[kQueries];
  for (int q = 0; q < kQueries; ++q) {
    steps[q] = task.scores[(query + q) * kAttentionBlockSlots + kStepAt];
    for (int64_t e = 0; e < task.head_dim; e += kLanes)
      _mm512_storeu_ps(sums + q * task.sums_stride + e, _mm512_setzero_ps());
  }
  const int64_t most = task.seen[query + kQueries - 1];
  for (int64_t slot = 0; slot < most; slot += kTogetherSlots) {
    const int64_t slots = std::min(kTogetherSlots, (most - slot + kLanes - 1) / kLanes * kLanes);
    const float* weights = task.scores + query * kAttentionBlockSlots + slot;
    for (int64_t e = 0; e < task.head_dim; e += kVectors * kLanes)
      sum_values<kQueries, kVectors>(task.rows + slot, e, slots, weights, steps, &lines, sums, task.sums_stride);
  }
  *fetcher = lines;
}

// The sums of seven fill the registers.
constexpr Int8SumsOf kValuesOf[] = {values_of<1>, values_of<2>, values_of<3>, values_of<4>,
                                    values_of<5>, values_of<6>, values_of<7>};

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
  sums_in_groups(task, kValuesOf, lines, &fetcher);
}

}  // namespace

const Int8Attention* int8_attention_avx512_vnni() {
  static const Int8Attention all{load_query, scores, values};
  return &all;
}

}  // namespace throughline::ops::cpu

#endif

// Intrinsics because Highway 1.0.3 has not the instruction.
#include "ops/cpu/int8_attention.h"

#if defined(__x86_64__)
#include <algorithm>
#include <cstring>
#include <limits>

#include "ops/cpu/avx512-inl.h"
#include "ops/cpu/cpu_limit.h"

#define TL_TARGET TL_AVX512("avx512vnni")

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kSlots = 16, kLanes = 16;
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

// 16 keys, 128 added, turned into words of four elements: words[w] is word w of all of them. In eight steps a 64
// elements, which take what earlier ones left, so that products can be made between them: turning alone would keep the
// multipliers idle for a third of the time.
struct KeyWords {
  static constexpr int64_t kSteps = 8;
  alignas(64) uint32_t words[kInt8MostHeadDim / 4][kLanes];
  alignas(64) uint32_t half_turned[4][4][kLanes];  // of 64 elements: [column][row / 4][4 columns apart, row % 4]

  TL_INLINE void step(const std::byte* const* rows, int64_t e, int64_t step) {
    __m512i in[4], out[4];
    if (step < 4) {
      const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
      TL_UNROLL
      for (int r = 0; r < 4; ++r) in[r] = _mm512_xor_si512(_mm512_loadu_si512(rows[4 * step + r] + e), flip);
      avx512::transpose_quarters(in, out);
      TL_UNROLL
      for (int i = 0; i < 4; ++i) _mm512_store_si512(half_turned[i][step], out[i]);
      return;
    }
    const int64_t column = step - 4;
    TL_UNROLL
    for (int r = 0; r < 4; ++r) in[r] = _mm512_load_si512(half_turned[column][r]);
    avx512::transpose_groups(in, out);
    TL_UNROLL
    for (int i = 0; i < 4; ++i) _mm512_store_si512(words[e / 4 + 4 * i + column], out[i]);
  }
};

// kQueries queries against the 16 keys from `slot` on, while `next`, if any, takes the 16 keys behind them.
template <int kQueries>
TL_TARGET void scores_of(const Int8ScoreTask& task, int64_t query, int64_t slot, const KeyWords& now, KeyWords* next) {
  const std::byte* queries = task.queries + query * kInt8QueryBytes;
  const std::byte* const* rows = task.rows + slot;
  avx512::LineFetcher fetcher{rows + task.ahead, query == 0 ? kSlots * task.head_dim / avx512::kLine : 0,
                              task.head_dim};
  constexpr int kParts = kQueries < 5 ? 2 : 1;  // so many sums that each is ready when its turn comes again
  __m512i sums[kQueries][kParts];
  TL_UNROLL
  for (int q = 0; q < kQueries; ++q) {
    sums[q][kParts - 1] = _mm512_setzero_si512();
    sums[q][0] = _mm512_set1_epi32(-query_end(task, query + q).offset);
  }
  for (int64_t e = 0; e < task.head_dim; e += kInt8HeadDimStep) {
    for (int64_t step = 0; step < KeyWords::kSteps; ++step) {
      if (next != nullptr) next->step(rows + kSlots, e, step);
      constexpr int64_t kWords = kInt8HeadDimStep / 4 / KeyWords::kSteps;
      TL_UNROLL
      for (int64_t i = 0; i < kWords; ++i, queries += 4) {
        fetcher.next();
        const __m512i keys = _mm512_load_si512(now.words[e / 4 + step * kWords + i]);
        TL_UNROLL
        for (int q = 0; q < kQueries; ++q)
          add_products(&sums[q][i % kParts], keys, four_bytes(queries + q * kInt8QueryBytes));
      }
    }
  }
  const __m512 key_scales = _mm512_loadu_ps(task.scales + slot);
  TL_UNROLL
  for (int q = 0; q < kQueries; ++q) {
    const __m512i sum = kParts == 1 ? sums[q][0] : _mm512_add_epi32(sums[q][0], sums[q][kParts - 1]);
    const __m512 total = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(query_end(task, query + q).scale));
    _mm512_storeu_ps(task.scores + (query + q) * kAttentionBlockSlots + slot, _mm512_mul_ps(total, key_scales));
  }
}

// One or two queries: the keys' own words, and a tree of sums at the end, take less than turning keys into words.
template <int kQueries>
TL_TARGET void few_scores(const Int8ScoreTask& task) {
  constexpr int kRows = static_cast<int>(kSlots) / kQueries;
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  for (int64_t slot = 0; slot < task.slots; slot += kRows) {
    __m512 ordered[kSlots];
    TL_UNROLL
    for (int first = 0; first < kRows; first += 4) {
      const std::byte* const* rows = task.rows + slot + first;
      __m512i products[kQueries][4];
      TL_UNROLL
      for (int q = 0; q < kQueries; ++q) {
        TL_UNROLL
        for (int r = 0; r < 4; ++r) products[q][r] = _mm512_setzero_si512();
      }
      for (int64_t e = 0; e < task.head_dim; e += kInt8HeadDimStep) {
        __m512i keys[4];
        TL_UNROLL
        for (int r = 0; r < 4; ++r) {
          keys[r] = _mm512_xor_si512(_mm512_loadu_si512(rows[r] + e), flip);
          _mm_prefetch(reinterpret_cast<const char*>(rows[r + task.ahead] + e), _MM_HINT_T1);
        }
        TL_UNROLL
        for (int q = 0; q < kQueries; ++q) {
          const __m512i numbers = _mm512_loadu_si512(task.queries + q * kInt8QueryBytes + e);
          TL_UNROLL
          for (int r = 0; r < 4; ++r) add_products(&products[q][r], keys[r], numbers);
        }
      }
      TL_UNROLL
      for (int q = 0; q < kQueries; ++q) {
        TL_UNROLL
        for (int r = 0; r < 4; ++r) {
          const int lane = q * kRows + first + r;
          ordered[lane % 4 * 4 + lane / 4] = _mm512_castsi512_ps(products[q][r]);
        }
      }
    }
    alignas(64) int32_t sums[kSlots];
    _mm512_store_ps(sums, avx512::sums_of_lanes<avx512::Words>(ordered));
    TL_UNROLL
    for (int q = 0; q < kQueries; ++q) {
      const QueryEnd end = query_end(task, q);
      const auto used = static_cast<__mmask16>((1U << kRows) - 1);
      const __m512i sum = _mm512_maskz_loadu_epi32(used, sums + q * kRows);
      const __m512 total = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, _mm512_set1_epi32(end.offset)));
      const __m512 scales = _mm512_maskz_loadu_ps(used, task.scales + slot);
      _mm512_mask_storeu_ps(task.scores + q * kAttentionBlockSlots + slot, used,
                            _mm512_mul_ps(_mm512_mul_ps(total, _mm512_set1_ps(end.scale)), scales));
    }
  }
}

using ScoresOf = void (*)(const Int8ScoreTask& task, int64_t query, int64_t slot, const KeyWords& now, KeyWords* next);
constexpr int64_t kMostTogether = 8;  // their sums fill half of the registers
constexpr ScoresOf kScoresOf[kMostTogether] = {scores_of<1>, scores_of<2>, scores_of<3>, scores_of<4>,
                                               scores_of<5>, scores_of<6>, scores_of<7>, scores_of<8>};

TL_TARGET void scores(const Int8ScoreTask& task) {
  if (task.query_count == 1) return few_scores<1>(task);
  if (task.query_count == 2) return few_scores<2>(task);
  KeyWords words[2];
  for (int64_t e = 0; e < task.head_dim; e += kInt8HeadDimStep) {
    for (int64_t step = 0; step < KeyWords::kSteps; ++step) words[0].step(task.rows, e, step);
  }
  const int64_t groups = (task.query_count + kMostTogether - 1) / kMostTogether;
  for (int64_t slot = 0, tile = 0; slot < task.slots; slot += kSlots, ++tile) {
    KeyWords* next = slot + kSlots < task.slots ? &words[(tile + 1) % 2] : nullptr;
    for (int64_t i = 0; i < groups; ++i, next = nullptr) {  // the first turns keys for all
      const int64_t from = task.query_count * i / groups, to = task.query_count * (i + 1) / groups;
      kScoresOf[to - from - 1](task, from, slot, words[tile % 2], next);
    }
  }
}

// ---------------------------------------------------------------- softmax

// How a query's weights lie in place of its scores: in four slots' room the four high bytes, then the four low bytes;
// and in the room of slot kStepAt what one of them is worth.
constexpr int64_t kStepAt = 2;

// Factors that bring weights times scales of V, up to the block's largest, to 16 bits; and what one is worth then.
struct WeightFactors {
  alignas(64) float factors[kAttentionBlockSlots];
  float step;

  TL_INLINE void fill(const float* scales, int64_t slots) {
    __m512 largest = _mm512_setzero_ps();
    for (int64_t i = 0; i < slots; i += kLanes)
      largest = _mm512_max_ps(largest, _mm512_maskz_loadu_ps(avx512::Softmax::first_of(slots - i), scales + i));
    const float most = _mm512_reduce_max_ps(largest);
    const __m512 factor = _mm512_set1_ps(most > 0 ? kWeightLimit / most : 0.0F);
    for (int64_t i = 0; i < slots; i += kLanes) {
      const __m512 scale = _mm512_maskz_loadu_ps(avx512::Softmax::first_of(slots - i), scales + i);
      _mm512_store_ps(factors + i, _mm512_mul_ps(scale, factor));
    }
    step = most / kWeightLimit;
  }
};

TL_INLINE void soften(float* scores, int64_t seen, int64_t slots, const WeightFactors& by, float* highest, float* total,
                      avx512::LineFetcher* fetcher) {
  const __m512i bytes = _mm512_broadcast_i32x4(_mm_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, 12, 8, 4, 0, 13, 9, 5, 1));
  const avx512::Softmax softmax(scores, seen);
  __m512 sum = _mm512_setzero_ps();
  __m512i all = _mm512_setzero_si512();
  int64_t i = 0;
  for (; i < seen; i += kLanes) {
    const __m512 weights = softmax.weights(scores, i);
    const __m512i numbers = _mm512_cvtps_epi32(_mm512_mul_ps(weights, _mm512_load_ps(by.factors + i)));
    _mm512_store_si512(scores + i, _mm512_shuffle_epi8(numbers, bytes));
    sum = _mm512_add_ps(sum, weights);
    all = _mm512_or_si512(all, numbers);
    fetcher->next();
  }
  for (; i < slots; i += kLanes) _mm512_store_ps(scores + i, _mm512_setzero_ps());
  const bool bad = _mm512_movepi32_mask(all) != 0;  // a negative number: what is not finite gives it
  scores[kStepAt] = bad ? std::numeric_limits<float>::quiet_NaN() : by.step;
  *highest = softmax.highest;
  *total = _mm512_reduce_add_ps(sum);
}

// ---------------------------------------------------------------- values

// Rows are read in stripes of 64 elements, so many at a time.
constexpr int64_t kTogetherSlots = 128;

// Adds to 64 elements, of which kVectors of four vectors from `first_vector`, what `rows` give, four slots at a time.
// Group g of vector i is elements 16 g + 4 i to 16 g + 4 i + 3.
template <int kQueries, int kVectors>
TL_INLINE void sum_values(const std::byte* const* rows, int64_t e, int64_t slots, const float* weights,
                          const float* steps, int first_vector, avx512::LineFetcher* fetcher,
                          float (*sums)[kInt8MostHeadDim]) {
  constexpr int kSums = kQueries * kVectors;
  __m512i high[kSums], low[kSums];
  TL_UNROLL
  for (int n = 0; n < kSums; ++n) high[n] = low[n] = _mm512_setzero_si512();
  for (int64_t slot = 0; slot < slots; slot += 4) {
    __m512i values[4], mixed[kVectors];
    TL_UNROLL
    for (int r = 0; r < 4; ++r) values[r] = _mm512_loadu_si512(rows[slot + r] + e);
    TL_UNROLL
    for (int i = 0; i < kVectors; ++i) fetcher->next();
    TL_UNROLL
    for (int i = 0; i < kVectors; i += 2) {
      const bool upper = first_vector + i >= 2;
      const __m512i ab =
          upper ? _mm512_unpackhi_epi8(values[0], values[1]) : _mm512_unpacklo_epi8(values[0], values[1]);
      const __m512i cd =
          upper ? _mm512_unpackhi_epi8(values[2], values[3]) : _mm512_unpacklo_epi8(values[2], values[3]);
      mixed[i] = _mm512_unpacklo_epi16(ab, cd);
      mixed[i + 1] = _mm512_unpackhi_epi16(ab, cd);
    }
    TL_UNROLL
    for (int n = 0; n < kSums; ++n) {
      const float* weight = weights + n / kVectors * kAttentionBlockSlots + slot;
      add_products(&high[n], four_bytes(weight), mixed[n % kVectors]);
      add_products(&low[n], four_bytes(weight + 1), mixed[n % kVectors]);
    }
  }
  TL_UNROLL
  for (int n = 0; n < kSums; ++n) {
    const __m512 total = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high[n], 8), low[n]));
    float* sum = sums[n / kVectors] + e + (first_vector + n % kVectors) * kLanes;
    const __m512 scale = _mm512_set1_ps(steps[n / kVectors]);
    _mm512_store_ps(sum, _mm512_fmadd_ps(total, scale, _mm512_load_ps(sum)));
  }
}

template <int kQueries>
TL_TARGET void values_of(const Int8ValueTask& task, int64_t query, avx512::LineFetcher* fetcher) {
  alignas(64) float sums[kQueries][kInt8MostHeadDim];
  float steps[kQueries];
  for (int q = 0; q < kQueries; ++q) {
    steps[q] = task.scores[(query + q) * kAttentionBlockSlots + kStepAt];
    for (int64_t e = 0; e < task.head_dim; e += kLanes) _mm512_store_ps(sums[q] + e, _mm512_setzero_ps());
  }
  const int64_t most = task.seen[query + kQueries - 1];
  for (int64_t slot = 0; slot < most; slot += kTogetherSlots) {
    const int64_t slots = std::min(kTogetherSlots, (most - slot + kLanes - 1) / kLanes * kLanes);
    const std::byte* const* rows = task.rows + slot;
    const float* weights = task.scores + query * kAttentionBlockSlots + slot;
    for (int64_t e = 0; e < task.head_dim; e += kInt8HeadDimStep) {
      if constexpr (kQueries > 3) {
        sum_values<kQueries, 2>(rows, e, slots, weights, steps, 0, fetcher, sums);
        sum_values<kQueries, 2>(rows, e, slots, weights, steps, 2, fetcher, sums);
      } else {
        sum_values<kQueries, 4>(rows, e, slots, weights, steps, 0, fetcher, sums);
      }
    }
  }
  for (int q = 0; q < kQueries; ++q) {
    float* out = task.sums + (query + q) * task.sums_stride;
    for (int64_t e = 0; e < task.head_dim; e += kInt8HeadDimStep) {
      __m512i vectors[4], ordered[4];
      TL_UNROLL
      for (int i = 0; i < 4; ++i) vectors[i] = _mm512_load_si512(sums[q] + e + i * kLanes);
      avx512::transpose_groups(vectors, ordered);
      TL_UNROLL
      for (int i = 0; i < 4; ++i) _mm512_storeu_si512(out + e + i * kLanes, ordered[i]);
    }
  }
}

using ValuesOf = void (*)(const Int8ValueTask& task, int64_t query, avx512::LineFetcher* fetcher);
constexpr int64_t kMostSummed = 7;  // their sums fill the registers
constexpr ValuesOf kValuesOf[kMostSummed] = {values_of<1>, values_of<2>, values_of<3>, values_of<4>,
                                             values_of<5>, values_of<6>, values_of<7>};

TL_TARGET void values(const Int8ValueTask& task) {
  const int64_t most = task.seen[task.query_count - 1], slots = (most + kLanes - 1) / kLanes * kLanes;
  const int64_t lines = slots * task.head_dim / avx512::kLine;
  avx512::LineFetcher fetcher{task.rows + task.ahead, task.ahead != 0 ? lines : 0, task.head_dim};
  WeightFactors factors;  // of as many slots as the query at hand sees
  for (int64_t q = 0; q < task.query_count; ++q) {
    const int64_t seen = task.seen[q];
    if (q == 0 || seen != task.seen[q - 1]) factors.fill(task.scales, seen);
    soften(task.scores + q * kAttentionBlockSlots, seen, slots, factors, task.highest + q, task.total + q, &fetcher);
  }
  const int64_t groups = (task.query_count + kMostSummed - 1) / kMostSummed;
  fetcher.spread(groups * lines);  // each reads a line's worth between two calls
  for (int64_t i = 0; i < groups; ++i) {
    const int64_t from = task.query_count * i / groups, to = task.query_count * (i + 1) / groups;
    if (task.seen[to - 1] > 0) kValuesOf[to - from - 1](task, from, &fetcher);
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

#include "ops/cpu/attention_scores.h"

#if defined(__x86_64__)
#include "ops/cpu/avx512-inl.h"
#include "ops/cpu/cpu_limit.h"

#define TL_TARGET TL_AVX512("avx512bf16")

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kSlots = 16;

TL_INLINE __m512bh load(const void* p) { return (__m512bh)_mm512_loadu_si512(p); }

// sums[q * kRows + r] for kQueries queries and kRows keys.
template <int kQueries, int kRows>
TL_INLINE void dots(const ScoreTask& task, const uint16_t* queries, const std::byte* const* rows, int64_t ahead,
                    __m512* sums) {
  TL_UNROLL
  for (int i = 0; i < kQueries * kRows; ++i) sums[i] = _mm512_setzero_ps();
  for (int64_t k = 0; k < task.head_dim; k += kScoreHeadDimStep) {
    __m512bh keys[kRows];
    TL_UNROLL
    for (int r = 0; r < kRows; ++r) {
      keys[r] = load(rows[r] + 2 * k);
      if (ahead != 0) _mm_prefetch(reinterpret_cast<const char*>(rows[r + ahead] + 2 * k), _MM_HINT_T1);
    }
    TL_UNROLL
    for (int q = 0; q < kQueries; ++q) {
      const __m512bh query = load(queries + q * task.head_dim + k);
      TL_UNROLL
      for (int r = 0; r < kRows; ++r) sums[q * kRows + r] = _mm512_dpbf16_ps(sums[q * kRows + r], query, keys[r]);
    }
  }
}

// kQueries queries against 16 / kQueries keys, kTogether of them at a time: few where they come from memory, whose
// order counts; many where an earlier tile has left them in L1.
template <int kQueries, int kTogether>
TL_INLINE __m512 scores_of(const ScoreTask& task, const uint16_t* queries, const std::byte* const* rows,
                           int64_t ahead) {
  constexpr int kRows = static_cast<int>(kSlots) / kQueries;
  __m512 ordered[16];
  TL_UNROLL
  for (int first = 0; first < kRows; first += kTogether) {
    __m512 sums[kQueries * kTogether];
    dots<kQueries, kTogether>(task, queries, rows + first, ahead, sums);
    TL_UNROLL
    for (int q = 0; q < kQueries; ++q) {
      TL_UNROLL
      for (int r = 0; r < kTogether; ++r) {
        const int lane = q * kRows + first + r;
        ordered[lane % 4 * 4 + lane / 4] = sums[q * kTogether + r];
      }
    }
  }
  return _mm512_mul_ps(avx512::sums_of_lanes(ordered), _mm512_set1_ps(task.scale));
}

TL_TARGET void four(const ScoreTask& task, const uint16_t* queries, int64_t ahead, float* scores) {
  for (int64_t slot = 0; slot < kSlots; slot += 4) {
    const __m512 s = scores_of<4, 4>(task, queries, task.rows + slot, ahead);
    _mm_storeu_ps(scores + slot, _mm512_extractf32x4_ps(s, 0));
    _mm_storeu_ps(scores + task.stride + slot, _mm512_extractf32x4_ps(s, 1));
    _mm_storeu_ps(scores + 2 * task.stride + slot, _mm512_extractf32x4_ps(s, 2));
    _mm_storeu_ps(scores + 3 * task.stride + slot, _mm512_extractf32x4_ps(s, 3));
  }
}

template <int kTogether>
TL_TARGET void two(const ScoreTask& task, const uint16_t* queries, int64_t ahead, float* scores) {
  for (int64_t slot = 0; slot < kSlots; slot += 8) {
    const __m512 s = scores_of<2, kTogether>(task, queries, task.rows + slot, ahead);
    _mm256_storeu_ps(scores + slot, _mm512_castps512_ps256(s));
    _mm256_storeu_ps(scores + task.stride + slot, _mm512_extractf32x8_ps(s, 1));
  }
}

template <int kTogether>
TL_TARGET void one(const ScoreTask& task, const uint16_t* queries, int64_t ahead, float* scores) {
  _mm512_storeu_ps(scores, scores_of<1, kTogether>(task, queries, task.rows, ahead));
}

TL_TARGET void all(const ScoreTask& task) {
  int64_t q = 0, ahead = task.ahead;  // the first queries fetch
  for (; q + 4 <= task.query_count; q += 4, ahead = 0)
    four(task, task.queries + q * task.head_dim, ahead, task.scores + q * task.stride);
  for (; q + 2 <= task.query_count; q += 2, ahead = 0)
    (ahead != 0 ? two<2> : two<8>)(task, task.queries + q * task.head_dim, ahead, task.scores + q * task.stride);
  if (q < task.query_count)
    (ahead != 0 ? one<2> : one<16>)(task, task.queries + q * task.head_dim, ahead, task.scores + q * task.stride);
}

}  // namespace

ScoreSlots score_slots_bf16() {
  static const bool supported = has_avx512_bf16();
  return supported ? all : nullptr;
}

}  // namespace throughline::ops::cpu

#else

namespace throughline::ops::cpu {
ScoreSlots score_slots_bf16() { return nullptr; }
}  // namespace throughline::ops::cpu

#endif

#include "ops/cpu/attention_values.h"

#if defined(__x86_64__)
#include <algorithm>

#include "ops/cpu/avx512-inl.h"
#include "ops/cpu/cpu_limit.h"
#include "ops/cpu/line_fetcher.h"

#define TL_TARGET TL_AVX512("avx512bf16")

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kLanes = 16;

TL_TARGET void soften(float* scores, int64_t slots, float* highest, float* total) {
  const avx512::Softmax softmax(scores, slots);
  __m512 sum = _mm512_setzero_ps();
  auto* halves = reinterpret_cast<uint16_t*>(scores);
  for (int64_t i = 0; i < slots; i += kLanes) {
    const auto rounded = (__m256i)_mm512_cvtneps_pbh(softmax.weights(scores, i));
    _mm256_store_si256(reinterpret_cast<__m256i*>(halves + i), rounded);  // before the next scores
    sum = _mm512_add_ps(sum, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16)));
  }
  *highest = softmax.highest;
  *total = _mm512_reduce_add_ps(sum);
}

// Elements [e, e + 16 kVectors) of slots [slot, end) for kQueries queries; slots from `end` on count nothing, whatever
// they hold.
template <int kQueries, int kVectors>
TL_INLINE void tile(const ValueTask& task, int64_t query, int64_t slot, int64_t end, int64_t e, LineFetcher* fetcher) {
  alignas(64) static const std::byte none[kLine * kVectors / 2] = {};
  __m512 sums[kQueries][kVectors];
  float* out = task.sums + query * task.sums_stride + e;
  for (int q = 0; q < kQueries; ++q) {
    for (int v = 0; v < kVectors; v += 2) {
      const __m512 even = _mm512_load_ps(out + q * task.sums_stride + v * kLanes);
      const __m512 odd = _mm512_load_ps(out + q * task.sums_stride + (v + 1) * kLanes);
      sums[q][v] = _mm512_unpacklo_ps(even, odd);
      sums[q][v + 1] = _mm512_unpackhi_ps(even, odd);
    }
  }
  const float* weights = task.weights + query * kAttentionBlockSlots;
  for (; slot < end; slot += 2) {
    const std::byte* first = task.rows[slot] + 2 * e;
    const std::byte* second = slot + 1 < end ? task.rows[slot + 1] + 2 * e : none;
    __m512bh pairs[kVectors];
    for (int v = 0; v < kVectors; v += 2) {
      const __m512i a = _mm512_loadu_si512(first + 2 * v * kLanes), b = _mm512_loadu_si512(second + 2 * v * kLanes);
      pairs[v] = (__m512bh)_mm512_unpacklo_epi16(a, b);
      pairs[v + 1] = (__m512bh)_mm512_unpackhi_epi16(a, b);
    }
    for (int v = 0; v < kVectors; ++v) fetcher->next();
    for (int q = 0; q < kQueries; ++q) {
      const auto weight = (__m512bh)_mm512_set1_ps(weights[q * kAttentionBlockSlots + slot / 2]);
      for (int v = 0; v < kVectors; ++v) sums[q][v] = _mm512_dpbf16_ps(sums[q][v], weight, pairs[v]);
    }
  }
  for (int q = 0; q < kQueries; ++q) {
    for (int v = 0; v < kVectors; v += 2) {
      const __m512 low = sums[q][v], high = sums[q][v + 1];
      _mm512_store_ps(out + q * task.sums_stride + v * kLanes, _mm512_shuffle_ps(low, high, 0x88));
      _mm512_store_ps(out + q * task.sums_stride + (v + 1) * kLanes, _mm512_shuffle_ps(low, high, 0xdd));
    }
  }
}

// Whole rows of slots [slot, end).
template <int kQueries>
TL_TARGET void rows_of(const ValueTask& task, int64_t query, int64_t slot, int64_t end, int64_t ahead) {
  constexpr int kVectors = kQueries > 6 ? 2 : kQueries > 2 ? 4 : 8;  // sums fill the registers
  const int64_t lines = ahead != 0 ? (end - slot) * ((2 * task.head_dim + kLine - 1) / kLine) : 0;
  LineFetcher fetcher{task.rows + slot + ahead, lines, 2 * task.head_dim};
  int64_t e = 0;
  for (; e + kVectors * kLanes <= task.head_dim; e += kVectors * kLanes)
    tile<kQueries, kVectors>(task, query, slot, end, e, &fetcher);
  for (; e < task.head_dim; e += 2 * kLanes) tile<kQueries, 2>(task, query, slot, end, e, &fetcher);
}

using RowsOf = void (*)(const ValueTask& task, int64_t query, int64_t slot, int64_t end, int64_t ahead);
constexpr int64_t kTogether = 8, kSlots = 64;  // their rows are 16 KiB at head_dim 128
constexpr RowsOf kRowsOf[] = {rows_of<1>, rows_of<2>, rows_of<3>, rows_of<4>,
                              rows_of<5>, rows_of<6>, rows_of<7>, rows_of<8>};

// Queries [from, to) over slots [slot, end), as far as each sees them.
void group(const ValueTask& task, int64_t from, int64_t to, int64_t slot, int64_t end, int64_t ahead) {
  const int64_t first = std::clamp(task.seen[from], slot, end), last = std::clamp(task.seen[to - 1], slot, end);
  const int64_t common = first == last ? last : first / 2 * 2;
  kRowsOf[to - from - 1](task, from, slot, common, ahead);
  for (int64_t q = from; q < to && common < last; ++q) kRowsOf[0](task, q, common, std::min(task.seen[q], end), 0);
}

void sum(const ValueTask& task) {
  const int64_t groups = (task.query_count + kTogether - 1) / kTogether, slots = task.seen[task.query_count - 1];
  for (int64_t slot = 0; slot < slots; slot += kSlots) {
    for (int64_t i = 0; i < groups; ++i) {  // the first fetches
      group(task, task.query_count * i / groups, task.query_count * (i + 1) / groups, slot,
            std::min(slots, slot + kSlots), i == 0 ? task.ahead : 0);
    }
  }
}

}  // namespace

const AttentionValues* attention_values_bf16() {
  static const AttentionValues all{soften, sum};
  static const bool supported = has_avx512_bf16();
  return supported ? &all : nullptr;
}

}  // namespace throughline::ops::cpu

#else

namespace throughline::ops::cpu {
const AttentionValues* attention_values_bf16() { return nullptr; }
}  // namespace throughline::ops::cpu

#endif

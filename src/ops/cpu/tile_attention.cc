#include "ops/cpu/tile_attention.h"

#include "ops/cpu/pair_product.h"

#if defined(__x86_64__)
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/avx512-inl.h"
#include "ops/cpu/cpu_limit.h"

#define TL_TARGET TL_AVX512("avx512bf16")

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kBlock = 256;           // slots packed at a time
constexpr int64_t kPanel = 32;            // slots of a panel of packed K
constexpr int64_t kTogether = 24;         // queries whose scores are worked on at a time: they stay in L1
constexpr int64_t kStride = kBlock + 16;  // of rows of scores: a power of two would fall into few cache sets
constexpr float kNoScore = -3.0e38F;

int64_t padded_queries(int64_t queries) { return (queries + 7) / 8 * 8; }  // whole tiles of pair_product()

struct Workspace {
  int64_t queries, head_dim;
  uint32_t *query, *keys, *values;  // [padded, head_dim / 2], [panels, head_dim / 2, 32], [kBlock / 2, head_dim]
  uint16_t* halves;                 // [kBlock, head_dim]: rows of int8 as bf16
  uint32_t* weights;                // [kTogether, kStride / 2]
  float *scores, *sums;             // [kTogether, kStride], [padded, head_dim]
  float *highest, *total;           // [padded]
  int64_t floats;

  Workspace(int64_t query_count, int64_t dim, float* memory)
      : queries(padded_queries(query_count)), head_dim(dim), floats(0) {
    const auto take = [&](int64_t count) {
      float* out = memory == nullptr ? nullptr : memory + floats;
      floats += (count + 15) / 16 * 16;
      return out;
    };
    const auto words = [&](int64_t count) { return reinterpret_cast<uint32_t*>(take(count)); };
    query = words(queries * head_dim / 2);
    keys = words(kBlock * head_dim / 2);
    values = words(kBlock * head_dim / 2);
    halves = reinterpret_cast<uint16_t*>(words(kBlock * head_dim / 2));
    weights = words(kTogether * kStride / 2);
    scores = take(kTogether * kStride);
    sums = take(queries * head_dim);
    highest = take(queries);
    total = take(queries);
  }
};

// Scores (times `factor`: in powers of two) of the first `seen` slots of a block to rounded weights, up to `slots`,
// which is whole panels. What was summed before is made to match.
TL_INLINE void softmax(const Workspace& w, int64_t query, float* scores, uint32_t* weights, int64_t seen, int64_t slots,
                       float factor) {
  const __m512 scale = _mm512_set1_ps(factor), none = _mm512_set1_ps(kNoScore);
  __m512 top = none;
  int64_t i = 0;
  for (; i + kLanes <= seen; i += kLanes) top = _mm512_max_ps(top, _mm512_load_ps(scores + i));
  const auto rest = static_cast<__mmask16>((1U << (seen - i)) - 1);
  top = _mm512_max_ps(top, _mm512_mask_load_ps(none, rest, scores + i));
  const float before = w.highest[query], highest = std::max(before, _mm512_reduce_max_ps(top) * factor);
  const __m512 shift = _mm512_set1_ps(highest);
  __m512 total = _mm512_setzero_ps();
  auto* halves = reinterpret_cast<uint16_t*>(weights);
  for (i = 0; i < slots; i += kLanes) {
    __m512 weight;
    if (i + kLanes <= seen) {
      weight = avx512::exp2_of(_mm512_fmsub_ps(_mm512_load_ps(scores + i), scale, shift));
    } else {
      const auto used = static_cast<__mmask16>((1U << std::max<int64_t>(0, seen - i)) - 1);
      const __m512 score = _mm512_maskz_load_ps(used, scores + i);
      weight = _mm512_maskz_mov_ps(used, avx512::exp2_of(_mm512_fmsub_ps(score, scale, shift)));
    }
    const auto rounded = (__m256i)_mm512_cvtneps_pbh(weight);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(halves + i), rounded);
    total = _mm512_add_ps(total, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16)));
  }
  const float sum = _mm512_reduce_add_ps(total);
  if (highest == before) {
    w.total[query] += sum;
    return;
  }
  const float keep = std::exp2(before - highest);
  w.highest[query] = highest;
  w.total[query] = w.total[query] * keep + sum;
  float* sums = w.sums + query * w.head_dim;
  for (i = 0; i < w.head_dim; i += kLanes)
    _mm512_store_ps(sums + i, _mm512_mul_ps(_mm512_load_ps(sums + i), _mm512_set1_ps(keep)));
}

TL_INLINE void store_halves(__m512i numbers, float scale, uint16_t* out) {
  const __m512 values = _mm512_mul_ps(_mm512_cvtepi32_ps(numbers), _mm512_set1_ps(scale));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), (__m256i)_mm512_cvtneps_pbh(values));
}

// A token of a tile of int8 keys, or values, as bf16.
TL_TARGET void widen_key(const std::byte* tile, int64_t token, float scale, int64_t head_dim, uint16_t* out) {
  alignas(64) std::byte row[kLanes];
  for (int64_t e = 0; e < head_dim; e += kLanes) {
    for (int64_t i = 0; i < kLanes; i += kInt8Keys.together)
      std::memcpy(row + i, tile + kInt8Keys.offset(token, e + i), kInt8Keys.together);
    const __m128i numbers = _mm_load_si128(reinterpret_cast<const __m128i*>(row));
    store_halves(_mm512_sub_epi32(_mm512_cvtepu8_epi32(numbers), _mm512_set1_epi32(128)), scale, out + e);
  }
}

TL_TARGET void widen_value(const std::byte* tile, int64_t token, float scale, int64_t head_dim, uint16_t* out) {
  const __m128i shift = _mm_cvtsi64_si128(24 - 8 * token);
  for (int64_t e = 0; e < head_dim; e += kLanes) {
    const __m512i words = _mm512_loadu_si512(tile + kInt8Values.offset(0, e));
    store_halves(_mm512_srai_epi32(_mm512_sll_epi32(words, shift), 24), scale, out + e);
  }
}

// The rows of a block as bf16: where they lie, or copies in w.halves.
void find_rows(const PageLayout& pages, const AttentionTask& task, int64_t begin, int64_t count, const Workspace& w,
               const uint16_t** out) {
  const auto widen = pages.tile.tokens == kInt8Keys.tokens ? widen_key : widen_value;
  for (int64_t i = 0; i < count; ++i) {
    const std::byte* row = pages.row(task.page_table, task.kv_head, begin + i);
    out[i] = reinterpret_cast<const uint16_t*>(row);
    if (!pages.int8) continue;
    uint16_t* copy = w.halves + i * w.head_dim;
    widen(row, (begin + i) % pages.tile.tokens, pages.scale_value(task.page_table, task.kv_head, begin + i), w.head_dim,
          copy);
    out[i] = copy;
  }
}

void pack_block(const AttentionTask& task, int64_t begin, int64_t count, const Workspace& w) {
  const uint16_t* rows[kBlock];
  find_rows(*task.k, task, begin, count, w, rows);
  for (int64_t slot = 0; slot < count; slot += kPanel) {
    pack_pairs_across(rows + slot, std::min(kPanel, count - slot), w.head_dim, w.keys + slot * w.head_dim / 2, kPanel);
  }
  find_rows(*task.v, task, begin, count, w, rows);
  pack_pairs_along(rows, count, w.head_dim, w.values);
  const int64_t used = (count + 1) / 2, end = (count + kPanel - 1) / kPanel * kPanel / 2;
  std::memset(w.values + used * w.head_dim, 0, static_cast<size_t>((end - used) * w.head_dim) * sizeof(uint32_t));
}

void load_queries(const AttentionTask& task, const Workspace& w) {
  const int64_t row_words = w.head_dim / 2;
  for (int64_t i = 0; i < task.queries(); ++i) {
    const int64_t element = (i / task.group * task.q_heads + i % task.group) * w.head_dim;
    std::memcpy(w.query + i * row_words, task.q + 2 * element, static_cast<size_t>(2 * w.head_dim));
  }
  std::memset(w.query + task.queries() * row_words, 0,
              static_cast<size_t>((w.queries - task.queries()) * row_words) * sizeof(uint32_t));
  std::fill(w.sums, w.sums + w.queries * w.head_dim, 0.0F);
  std::fill(w.highest, w.highest + w.queries, kNoScore);
  std::fill(w.total, w.total + w.queries, 0.0F);
}

TL_TARGET void store(const AttentionTask& task, const Workspace& w) {
  constexpr float kLn2 = 0.69314718056F;
  for (int64_t i = 0; i < task.queries(); ++i) {
    const int64_t head = i / task.group * task.q_heads + i % task.group;
    const __m512 inverse = _mm512_set1_ps(1.0F / w.total[i]);
    for (int64_t e = 0; e < w.head_dim; e += kLanes) {
      const auto rounded =
          (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_load_ps(w.sums + i * w.head_dim + e), inverse));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(task.out + 2 * (head * w.head_dim + e)), rounded);
    }
    if (task.lse != nullptr) task.lse[head] = w.highest[i] * kLn2 + std::log(w.total[i]);
  }
}

TL_TARGET void attend(const AttentionTask& task, PairProduct product, float* scratch) {
  const Workspace w(task.queries(), task.k->head_dim, scratch);
  const float factor = task.scale * 1.44269504089F;  // powers of two are cheaper than those of e
  const int64_t row_words = w.head_dim / 2;
  load_queries(task, w);
  for (int64_t begin = 0; begin < task.slots(); begin += kBlock) {
    pack_block(task, begin, std::min(kBlock, task.slots() - begin), w);
    for (int64_t first = 0; first < task.queries(); first += kTogether) {
      const int64_t rows = std::min(kTogether, w.queries - first), last = std::min(first + rows, task.queries());
      const auto seen_by = [&](int64_t query) {
        return std::clamp<int64_t>(task.first_slots + query / task.group - begin, 0, kBlock);
      };
      const int64_t slots = (seen_by(last - 1) + kPanel - 1) / kPanel * kPanel;
      if (slots == 0) continue;
      for (int64_t slot = 0; slot < slots; slot += kPanel) {
        product(w.query + first * row_words, row_words, 1, w.keys + slot * row_words, kPanel, row_words,
                w.scores + slot, kStride, rows, kPanel / kLanes, /*add=*/false);
      }
      for (int64_t i = first; i < last; ++i) {
        const int64_t place = i - first, seen = seen_by(i);
        uint32_t* weights = w.weights + place * kStride / 2;
        if (seen > 0) {
          softmax(w, i, w.scores + place * kStride, weights, seen, slots, factor);
        } else {
          std::memset(weights, 0, static_cast<size_t>(slots) * sizeof(uint16_t));
        }
      }
      for (int64_t i = last; i < first + rows; ++i)
        std::memset(w.weights + (i - first) * kStride / 2, 0, static_cast<size_t>(slots) * sizeof(uint16_t));
      product(w.weights, kStride / 2, 1, w.values, w.head_dim, slots / 2, w.sums + first * w.head_dim, w.head_dim, rows,
              w.head_dim / kLanes, /*add=*/true);
    }
  }
  store(task, w);
}

}  // namespace

bool tile_attention_supported() { return has_avx512_bf16(); }

bool tile_attention_fits(const AttentionTask& task) {
  return task.q_bf16 && (task.k->bf16 || task.k->int8) && task.k->head_dim % 32 == 0;
}

int64_t tile_attention_scratch_floats(int64_t queries, int64_t head_dim) {
  return Workspace(queries, head_dim, nullptr).floats;
}

void tile_attention(const AttentionTask& task, float* scratch) { attend(task, pair_product(), scratch); }

}  // namespace throughline::ops::cpu

#else

namespace throughline::ops::cpu {
bool tile_attention_supported() { return false; }
bool tile_attention_fits(const AttentionTask&) { return false; }
int64_t tile_attention_scratch_floats(int64_t, int64_t) { return 0; }
void tile_attention(const AttentionTask&, float*) {}
}  // namespace throughline::ops::cpu

#endif

// What attention's kernels are made of: rows of K and V in every dtype, widened to fp32 lanes, and register tiles of a
// few queries against a few rows. Compiled once a target; no lambdas and no std templates, as attention_kernels-inl.h.
#if defined(THROUGHLINE_ATTENTION_TILES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef THROUGHLINE_ATTENTION_TILES_INL
#undef THROUGHLINE_ATTENTION_TILES_INL
#else
#define THROUGHLINE_ATTENTION_TILES_INL
#endif

#include "ops/cpu/line_fetcher.h"
#include "ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using BitsTag = hn::RebindToUnsigned<FloatTag>;
using HalfBitsTag = hn::Repartition<uint16_t, BitsTag>;
using Vec = hn::Vec<FloatTag>;
using throughline::ops::HWY_NAMESPACE::add_product;
using throughline::ops::HWY_NAMESPACE::kManyRegisters;

constexpr int64_t kBlock = kAttentionBlockSlots;
constexpr int64_t kLanes = hn::MaxLanes(FloatTag());
constexpr int64_t kChunk = 2 * kLanes;  // head_dim is padded to multiples of it
constexpr int64_t kScoreSlots = 16;     // K rows widened at a time: 8 KiB at head_dim 128
constexpr int64_t kValueSlots = 32;     // V rows at a time: 16 KiB
constexpr int64_t kWidenQueries = 8;    // from so many queries on, widening a row once beats widening it per tile
// Rows to fetch ahead, into L2: the hardware's prefetcher starts anew every 4 KiB, and fetching into L1 is limited by
// its few miss buffers (bench/attention_bench, Decode: 0.37 of the bandwidth without or into L1, 0.65 so).
constexpr int64_t kPrefetchBytes = 16 << 10;
constexpr int64_t kLeastPrefetchSlots = 32, kPrefetchSlots = 128;
// Queries that are worked on at a time, rows of K whose scores are, and vectors of sums of values: as many as registers
// hold beside what they take.
constexpr int kMostQueries = kManyRegisters ? 4 : 6;
template <int kQueries>
constexpr int kScoredRows = kManyRegisters || kQueries <= 2 ? 4 : 2;
constexpr int kSumVectors = kManyRegisters ? 16 : 12;
constexpr float kNoScore = -3.0e38f;
static_assert(kScoreSlots % kLanes == 0 && kBlock % kValueSlots == 0);
static_assert(kScoreSlots % kInt8Keys.tokens == 0 && kValueSlots % kInt8Values.tokens == 0);

constexpr int64_t Padded(int64_t head_dim) { return (head_dim + kChunk - 1) / kChunk * kChunk; }

// ---------------------------------------------------------------- rows of K and V

// fp32 values, in lane layout.
struct FloatRow {
  static constexpr int64_t kBytes = 4;
  static constexpr bool kOfPool = true;
  static HWY_INLINE Vec First(const std::byte* row, int64_t chunk) {
    return hn::LoadU(FloatTag(), reinterpret_cast<const float*>(row) + chunk * kChunk);
  }
  static HWY_INLINE Vec Second(const std::byte* row, int64_t chunk) {
    return hn::LoadU(FloatTag(), reinterpret_cast<const float*>(row) + chunk * kChunk + kLanes);
  }
};

// Likewise, but of widened rows.
struct WideRow : FloatRow {
  static constexpr bool kOfPool = false;
};

// bf16 values; widening splits a chunk into its even and its odd elements.
struct Bf16Row {
  static constexpr int64_t kBytes = 2;
  static constexpr bool kOfPool = true;
  static HWY_INLINE hn::Vec<BitsTag> Both(const std::byte* row, int64_t chunk) {
    return hn::BitCast(BitsTag(), hn::LoadU(HalfBitsTag(), reinterpret_cast<const uint16_t*>(row) + chunk * kChunk));
  }
  static HWY_INLINE Vec First(const std::byte* row, int64_t chunk) {
    return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(Both(row, chunk)));
  }
  static HWY_INLINE Vec Second(const std::byte* row, int64_t chunk) {
    return hn::BitCast(FloatTag(), hn::And(Both(row, chunk), hn::Set(BitsTag(), 0xffff0000u)));
  }
};

// A row of any head_dim and dtype into lane layout, zero padded.
template <class Row>
HWY_INLINE void WidenAs(const std::byte* row, int64_t head_dim, int64_t element_bytes, float* out) {
  const FloatTag d;
  int64_t chunk = 0;
  for (; (chunk + 1) * kChunk <= head_dim; ++chunk) {
    hn::Store(Row::First(row, chunk), d, out + chunk * kChunk);
    hn::Store(Row::Second(row, chunk), d, out + chunk * kChunk + kLanes);
  }
  const int64_t rest = head_dim - chunk * kChunk;
  if (rest == 0) return;
  HWY_ALIGN std::byte padded[kChunk * sizeof(float)] = {};
  std::memcpy(padded, row + chunk * kChunk * element_bytes, rest * element_bytes);
  hn::Store(Row::First(padded, 0), d, out + chunk * kChunk);
  hn::Store(Row::Second(padded, 0), d, out + chunk * kChunk + kLanes);
}

template <class Tag>
HWY_INLINE void StoreKey(Tag d, hn::Vec<Tag> key, float* out) {
  hn::StoreU(key, d, out);
}
// As bf16 without rounding: for numbers of at most 8 bits.
template <class Tag>
HWY_INLINE void StoreKey(Tag /*d*/, hn::Vec<Tag> key, uint16_t* out) {
  const hn::RebindToUnsigned<Tag> du;
  const hn::Rebind<uint16_t, Tag> d16;
  const auto half = hn::ShiftRight<16>(hn::BitCast(du, key));
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(hn::RebindToSigned<Tag>(), half)), d16, out);
}

// A token of a tile of int8 keys (ops/int8_tiles.h), times a scale.
template <class T>
HWY_INLINE void WidenKey(const std::byte* tile, int64_t token, float scale, int64_t head_dim, T* out) {
  const hn::FixedTag<float, kInt8Keys.together> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const auto factor = hn::Set(d, scale), shift = hn::Set(d, -128 * scale);
  const uint8_t* from = reinterpret_cast<const uint8_t*>(tile) + kInt8Keys.offset(token, 0);
  for (int64_t e = 0; e < head_dim; e += kInt8Keys.together, from += kInt8Keys.tokens * kInt8Keys.together) {
    const auto number = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, from)));
    StoreKey(d, hn::MulAdd(number, factor, shift), out + e);
  }
}

template <class Tag>
HWY_INLINE int64_t WidenSomeOfValue(Tag d, const std::byte* tile, int64_t token, float scale, int64_t e,
                                    int64_t head_dim, float* out) {
  const hn::RebindToSigned<Tag> di;
  const auto factor = hn::Set(d, scale);
  constexpr int64_t kStep = hn::MaxLanes(Tag());
  for (; e + kStep <= head_dim; e += kStep) {
    const auto words = hn::LoadU(di, reinterpret_cast<const int32_t*>(tile) + e);
    const auto number = hn::ShiftRight<24>(hn::ShiftLeftSame(words, static_cast<int>(24 - 8 * token)));
    hn::StoreU(hn::Mul(hn::ConvertTo(d, number), factor), d, out + e);
  }
  return e;
}

// A token of a tile of int8 values.
HWY_INLINE void WidenValue(const std::byte* tile, int64_t token, float scale, int64_t head_dim, float* out) {
  const int64_t e = WidenSomeOfValue(FloatTag(), tile, token, scale, 0, head_dim, out);
  WidenSomeOfValue(hn::FixedTag<float, 4>(), tile, token, scale, e, head_dim, out);
}

// Row i of a run that begins where a tile does. `scale`: of an int8 row.
HWY_INLINE void Widen(const PageLayout& pages, const std::byte* const* rows, int64_t i, float scale, float* out) {
  if (pages.bf16) {
    WidenAs<Bf16Row>(rows[i], pages.head_dim, 2, out);
  } else if (!pages.int8) {
    WidenAs<FloatRow>(rows[i], pages.head_dim, 4, out);
  } else {
    for (int64_t e = pages.head_dim; e < Padded(pages.head_dim); ++e) out[e] = 0;
    const int64_t token = i % pages.tile.tokens;
    const auto widen = pages.tile.tokens == kInt8Keys.tokens ? WidenKey<float> : WidenValue;
    widen(rows[i - token], token, scale, pages.head_dim, out);
  }
}

// Where element d of a pool's row stands in lane layout.
HWY_INLINE int64_t LaneOf(bool bf16, int64_t d) {
  if (!bf16) return d;
  return d / kChunk * kChunk + d % 2 * kLanes + d % kChunk / 2;
}

HWY_INLINE void FetchAhead(const std::byte* from, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(from + line, /*write=*/0, /*L2 and below*/ 2);
}

// ---------------------------------------------------------------- arithmetic

// One function for whole vectors, tails and single numbers.
HWY_NOINLINE Vec Exp(Vec x) { return throughline::ops::HWY_NAMESPACE::Exp(x); }

HWY_INLINE float ExpOne(float x) { return hn::GetLane(Exp(hn::Set(FloatTag(), x))); }

// Sums of neighbours in a, and in b. log2(lanes) rounds of it reduce as many vectors, a row each, to one. kRows: rows
// that a and b each hold the sums of.
template <int kRows>
HWY_INLINE Vec PairSums(Vec a, Vec b) {
#if HWY_TARGET == HWY_AVX2
  // Halves stay apart up to the last round.
  if constexpr (kRows < kLanes / 2) return Vec{_mm256_hadd_ps(a.raw, b.raw)};
  return Vec{_mm256_add_ps(_mm256_permute2f128_ps(a.raw, b.raw, 0x20), _mm256_permute2f128_ps(a.raw, b.raw, 0x31))};
#else
  const FloatTag d;
  return hn::Add(hn::ConcatEven(d, b, a), hn::ConcatOdd(d, b, a));
#endif
}

// Of kVectors vectors, each of kRows rows.
template <int kVectors, int kRows>
HWY_INLINE Vec SumOfLanes(const Vec* of) {
  if constexpr (kVectors == 1) {
    return of[0];
  } else {
    constexpr int kHalf = kVectors / 2;
    return PairSums<kHalf * kRows>(SumOfLanes<kHalf, kRows>(of), SumOfLanes<kHalf, kRows>(of + kHalf));
  }
}

template <class Row>
constexpr int64_t kChunkBytes = kChunk* Row::kBytes;

// sums[q][i] += query q's half of a chunk times row i's.
template <class Row, int kHalf, int kQueries, int kRows>
HWY_INLINE void AddHalfChunk(const float* queries, int64_t padded, const std::byte* const* rows, int64_t chunk,
                             Vec (*sums)[kRows]) {
  Vec part[kRows];
  TL_UNROLL
  for (int i = 0; i < kRows; ++i) part[i] = kHalf == 0 ? Row::First(rows[i], chunk) : Row::Second(rows[i], chunk);
  TL_UNROLL
  for (int q = 0; q < kQueries; ++q) {
    const Vec query = hn::Load(FloatTag(), queries + q * padded + chunk * kChunk + kHalf * kLanes);
    TL_UNROLL
    for (int i = 0; i < kRows; ++i) add_product(query, part[i], sums[q][i]);
  }
}

// Scores of kQueries queries against kLanes slots: scores[q * kBlock + slot]. Meanwhile rows so many further are
// fetched if they are a pool's; 0: they have been.
template <class Row, int kQueries>
HWY_NOINLINE void ScoreTile(const float* queries, int64_t padded, const std::byte* const* rows, int64_t ahead,
                            float* scores) {
  const FloatTag d;
  constexpr int kRows = kScoredRows<kQueries>, kGroups = static_cast<int>(kLanes) / kRows;
  constexpr int64_t kStep = kRows * kChunkBytes<Row>;  // the rows fetched mostly follow each other in memory
  Vec groups[kQueries][kGroups];
  TL_UNROLL
  for (int group = 0; group < kGroups; ++group) {
    const std::byte* const* some = rows + kRows * group;
    const std::byte* next = some[ahead];
    Vec sums[kQueries][kRows];
    TL_UNROLL
    for (int q = 0; q < kQueries; ++q) {
      TL_UNROLL
      for (int i = 0; i < kRows; ++i) sums[q][i] = hn::Zero(d);
    }
    for (int64_t chunk = 0; chunk * kChunk < padded; ++chunk, next += kStep) {
      if constexpr (Row::kOfPool) FetchAhead(next, kStep);
      AddHalfChunk<Row, 0, kQueries>(queries, padded, some, chunk, sums);
      AddHalfChunk<Row, 1, kQueries>(queries, padded, some, chunk, sums);
    }
    TL_UNROLL
    for (int q = 0; q < kQueries; ++q) groups[q][group] = SumOfLanes<kRows, 1>(sums[q]);
  }
  TL_UNROLL
  for (int q = 0; q < kQueries; ++q) hn::Store(SumOfLanes<kGroups, kRows>(groups[q]), d, scores + q * kBlock);
}

// acc[q][] += query q's weight * chunks of a row.
template <class Row, int kQueries, int kVectors>
HWY_INLINE void AddWeighted(const float* weights, const std::byte* row, int64_t chunk0, Vec (*acc)[kVectors]) {
  Vec values[kVectors];
  TL_UNROLL
  for (int i = 0; i < kVectors; ++i)
    values[i] = i % 2 == 0 ? Row::First(row, chunk0 + i / 2) : Row::Second(row, chunk0 + i / 2);
  TL_UNROLL
  for (int q = 0; q < kQueries; ++q) {
    const Vec weight = hn::Set(FloatTag(), weights[q * kBlock]);
    TL_UNROLL
    for (int i = 0; i < kVectors; ++i) add_product(weight, values[i], acc[q][i]);
  }
}

// sums[q][chunk0 .. chunk0 + kChunks) += weights[q][slot] * row[slot], slot after slot.
template <class Row, int kQueries, int kChunks>
HWY_NOINLINE void ValueTile(const float* weights, const std::byte* const* rows, int64_t slots, int64_t ahead,
                            int64_t chunk0, float* sums, int64_t sums_stride) {
  const FloatTag d;
  // While chunks of the same lines are multiplied, each fetches its share of these.
  constexpr int64_t kBytes = kChunks * kChunkBytes<Row>, kShares = HWY_MAX(int64_t{1}, kLine / kBytes);
  const std::byte* const* next = rows + ahead + chunk0 / kChunks % kShares * (slots / kShares);
  const int64_t line = chunk0 * kChunkBytes<Row> / kLine * kLine;
  Vec acc[kQueries][2 * kChunks];
  TL_UNROLL
  for (int q = 0; q < kQueries; ++q) {
    TL_UNROLL
    for (int i = 0; i < 2 * kChunks; ++i) {
      acc[q][i] = hn::Load(d, sums + q * sums_stride + chunk0 * kChunk + i * kLanes);
    }
  }
  int64_t slot = 0;
  for (; slot + kShares <= slots; slot += kShares, ++next) {
    if constexpr (Row::kOfPool) FetchAhead(*next + line, kBytes);
    TL_UNROLL
    for (int i = 0; i < kShares; ++i) AddWeighted<Row, kQueries>(weights + slot + i, rows[slot + i], chunk0, acc);
  }
  for (; slot < slots; ++slot) AddWeighted<Row, kQueries>(weights + slot, rows[slot], chunk0, acc);
  TL_UNROLL
  for (int q = 0; q < kQueries; ++q) {
    TL_UNROLL
    for (int i = 0; i < 2 * kChunks; ++i) {
      hn::Store(acc[q][i], d, sums + q * sums_stride + chunk0 * kChunk + i * kLanes);
    }
  }
}

template <class Row, int kQueries>
HWY_INLINE void ValueRows(const float* weights, const std::byte* const* rows, int64_t slots, int64_t ahead,
                          int64_t padded, float* sums, int64_t sums_stride) {
  if (slots <= 0) return;
  constexpr int kMost = kSumVectors / 2 / kQueries, kWide = kMost >= 4 ? 4 : kMost >= 2 ? 2 : 1;
  int64_t chunk = 0;
  for (; (chunk + kWide) * kChunk <= padded; chunk += kWide) {
    ValueTile<Row, kQueries, kWide>(weights, rows, slots, ahead, chunk, sums, sums_stride);
  }
  for (; chunk * kChunk < padded; ++chunk)
    ValueTile<Row, kQueries, 1>(weights, rows, slots, ahead, chunk, sums, sums_stride);
}

}  // namespace throughline::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

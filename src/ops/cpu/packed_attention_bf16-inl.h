// Packed attention of bf16 rows with products of bf16 pairs (ops/cpu/pair_product.h); included by
// packed_attention_kernels.cc after packed_attention_kernels-inl.h, for targets with 16 lanes. Words are pairs of bf16:
// along head_dim where that is the depth, else of two keys or two queries. Backward, probabilities and the scores'
// gradients are rounded to bf16 before they are multiplied, as flash attention does on GPUs. Forward they are not: the
// sampler's are not either, and rounding them made the log-prob gap 4 to 15 times larger (train/rollout_gap_test).
#if defined(THROUGHLINE_PACKED_ATTENTION_BF16_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef THROUGHLINE_PACKED_ATTENTION_BF16_INL
#undef THROUGHLINE_PACKED_ATTENTION_BF16_INL
#else
#define THROUGHLINE_PACKED_ATTENTION_BF16_INL
#endif

#if HWY_TARGET <= HWY_AVX3  // the best targets have the least numbers
HWY_BEFORE_NAMESPACE();
namespace throughline::ops::cpu::packed::HWY_NAMESPACE {

using WordTag = hn::RebindToUnsigned<FloatTag>;
using WordVec = hn::Vec<WordTag>;
using Half = uint16_t;

struct PairWorkspace {
  KeyWorkspace keys;
  int64_t queries, width, half;          // half: head_dim / 2
  uint32_t *k_across, *v_across;         // by tile [half, kStride]: pairs along head_dim
  uint32_t* k_along;                     // [padded keys / 2, width]: pairs of keys
  float* values;                         // V in fp32, forward only: [padded keys, width]
  uint32_t *q_rows, *grad_rows;          // [queries, width / 2]
  uint32_t *q_pairs, *grad_pairs;        // [queries / 2, width]
  uint32_t* score_rows;                  // gradients of the scores: [queries, kStride / 2]
  uint32_t *weight_pairs, *score_pairs;  // probabilities, gradients of the scores: [queries / 2, kStride]
  float *scores, *grad_scores, *result, *highest, *total, *grad_k, *grad_v;
  int64_t floats;

  PairWorkspace(const PackedTask& task, bool backward, float* memory)
      : keys(task, backward, memory),
        queries(TileQueries(task)),
        width(RoundUp(task.head_dim, kLanes)),
        half(task.head_dim / 2) {
    Scratch scratch{memory, keys.floats};
    const int64_t padded = keys.padded;
    k_across = scratch.Words(keys.tiles * kStride * half);
    q_rows = scratch.Words(queries * width / 2);
    scores = scratch.Take(queries * kStride);
    result = scratch.Take(queries * width);
    highest = scratch.Take(queries);
    total = scratch.Take(queries * kLanes);
    if (!backward) {
      values = scratch.Take(padded * width);
    } else {
      k_along = scratch.Words(padded / 2 * width);
      v_across = scratch.Words(keys.tiles * kStride * half);
      grad_rows = scratch.Words(queries * width / 2);
      q_pairs = scratch.Words(queries / 2 * width);
      grad_pairs = scratch.Words(queries / 2 * width);
      score_rows = scratch.Words(queries * kStride / 2);
      weight_pairs = scratch.Words(queries / 2 * kStride);
      score_pairs = scratch.Words(queries / 2 * kStride);
      grad_scores = scratch.Take(queries * kStride);
      grad_k = scratch.Take(padded * width);
      grad_v = scratch.Take(padded * width);
    }
    floats = scratch.used;
  }
};

// fp32 to bf16 bits in the lower halves, to nearest (ties, one in 65536, upwards). For finite numbers.
HWY_INLINE WordVec Rounded(Vec v) {
  const WordTag d;
  return hn::ShiftRight<16>(hn::Add(hn::BitCast(d, v), hn::Set(d, 0x8000)));
}

HWY_INLINE void StoreHalves(WordVec rounded, uint32_t* words, int64_t element) {
  const hn::Rebind<Half, FloatTag> half;
  hn::StoreU(hn::TruncateTo(half, rounded), half, reinterpret_cast<Half*>(words) + element);
}

HWY_INLINE void StorePairs(WordVec first, WordVec second, uint32_t* words) {
  hn::Store(hn::Or(first, hn::ShiftLeft<16>(second)), WordTag(), words);
}

// Two rows of halves to one row of words (a[e], b[e]); null rows are zeros. Up to whole vectors.
HWY_INLINE void InterleaveRows(const Half* a, const Half* b, int64_t head_dim, int64_t width, uint32_t* out) {
  for (int64_t e = 0; e < head_dim; ++e) {
    out[e] = static_cast<uint32_t>(a == nullptr ? 0 : a[e]) | static_cast<uint32_t>(b == nullptr ? 0 : b[e]) << 16;
  }
  for (int64_t e = head_dim; e < width; ++e) out[e] = 0;
}

HWY_INLINE const Half* KeyRow(const PackedTask& task, const KeyWorkspace& keys, const Half* from, int64_t j) {
  return j < keys.count ? from + keys.place[j] * task.kv_stride : nullptr;
}

HWY_NOINLINE void PairsAcross(const PackedTask& task, const PairWorkspace& w, const Half* from, uint32_t* across) {
  for (int64_t j = 0; j < w.keys.padded; ++j) {
    uint32_t* column = across + j / kKeys * kStride * w.half + j % kKeys;
    const Half* source = KeyRow(task, w.keys, from, j);
    for (int64_t i = 0; i < w.half; ++i) {
      uint32_t word = 0;
      if (source != nullptr) std::memcpy(&word, source + 2 * i, 4);
      column[i * kStride] = word;
    }
  }
}

HWY_NOINLINE void PairsAlong(const PackedTask& task, const PairWorkspace& w, const Half* from, uint32_t* along) {
  for (int64_t j = 0; j < w.keys.padded; j += 2) {
    InterleaveRows(KeyRow(task, w.keys, from, j), KeyRow(task, w.keys, from, j + 1), task.head_dim, w.width,
                   along + j / 2 * w.width);
  }
}

HWY_INLINE const Half* QueryRow(const PackedTask& task, const void* source, int64_t from, int64_t to, int64_t i) {
  const int64_t t = from + i / task.group;
  if (t >= to) return nullptr;
  return static_cast<const Half*>(source) + t * task.q_stride + i % task.group * task.head_dim;
}

// A tile of queries (or what has their shape): rows as they are and, if wanted, pairs of rows.
HWY_NOINLINE void TakePairQueries(const PackedTask& task, const PairWorkspace& w, const void* source, int64_t from,
                                  int64_t to, int64_t rows, uint32_t* out_rows, uint32_t* out_pairs) {
  for (int64_t i = 0; i < rows; ++i) {
    const Half* row = QueryRow(task, source, from, to, i);
    uint32_t* words = out_rows + i * w.width / 2;
    if (row != nullptr) {
      std::memcpy(words, row, task.head_dim * sizeof(Half));
    } else {
      std::memset(words, 0, task.head_dim * sizeof(Half));
    }
    if (out_pairs != nullptr && i % 2 == 0) {
      InterleaveRows(row, QueryRow(task, source, from, to, i + 1), task.head_dim, w.width, out_pairs + i / 2 * w.width);
    }
  }
}

// ---------------------------------------------------------------- forward

void ForwardPairs(const PackedTask& task, PairProduct product, float* scratch) {
  const PairWorkspace w(task, /*backward=*/false, scratch);
  const int64_t step = TileTokens(task);
  PlaceKeys(task, w.keys);
  PairsAcross(task, w, static_cast<const Half*>(task.k), w.k_across);
  TakeKeys<Half>(task, w.keys, w.width, static_cast<const Half*>(task.v), nullptr, w.values, nullptr);
  for (int64_t from = task.from; from < task.to; from += step) {
    const int64_t to = HWY_MIN(task.to, from + step), queries = (to - from) * task.group;
    const int64_t rows = RoundUp(queries, kRows);
    TakePairQueries(task, w, task.q, from, to, rows, w.q_rows, nullptr);
    SetZero(w.result, rows * w.width);
    for (int64_t i = 0; i < rows; ++i) w.highest[i] = kNoScore;
    SetZero(w.total, rows * kLanes);
    for (int64_t tile = 0; tile < w.keys.tiles; ++tile) {
      const Sight sight = Look(w.keys, tile, from, to);
      if (sight.vectors == 0) continue;
      product(w.q_rows, w.width / 2, 1, w.k_across + tile * kStride * w.half, kStride, w.half, w.scores, kStride, rows,
              sight.vectors, /*add=*/false);
      SoftmaxTile(task, w, tile, sight, task.scale, from, queries);
      Product(w.scores, kStride, 1, w.values + tile * kKeys * w.width, w.width, sight.vectors * kLanes, w.result,
              w.width, rows, w.width / kLanes, /*add=*/true);
    }
    StoreOutputs<Half>(task, from, queries, w.result, w.width, w.highest, w.total);
  }
}

// ---------------------------------------------------------------- backward

// Queries `query` and query + 1: scores to probabilities and to gradients of the scores, in the layouts that the
// products want.
HWY_INLINE void PairGradStep(const PackedTask& task, const PairWorkspace& w, int64_t tile, const Sight& sight,
                             int64_t from, int64_t query) {
  const FloatTag d;
  const Vec factor = hn::Set(d, task.scale);
  for (int64_t n = 0; n < sight.vectors; ++n) {
    WordVec weights[2], grads[2];
    for (int64_t i = 0; i < 2; ++i) {
      const int64_t q = query + i, at = q * kStride + n * kLanes;
      const Vec score = hn::Mul(hn::Load(d, w.scores + at), factor);
      Vec weight = Exp(hn::Sub(score, hn::Set(d, w.highest[q])));
      if (sight.partly) {
        weight = hn::IfThenElseZero(Seen(w.keys, tile * kKeys + n * kLanes, from + q / task.group), weight);
      }
      weights[i] = Rounded(weight);
      grads[i] = Rounded(hn::Mul(weight, hn::Sub(hn::Load(d, w.grad_scores + at), hn::Set(d, w.total[q]))));
      StoreHalves(grads[i], w.score_rows + q * kStride / 2, n * kLanes);
    }
    StorePairs(weights[0], weights[1], w.weight_pairs + query / 2 * kStride + n * kLanes);
    StorePairs(grads[0], grads[1], w.score_pairs + query / 2 * kStride + n * kLanes);
  }
}

void BackwardPairs(const PackedTask& task, PairProduct product, float* scratch) {
  const PairWorkspace w(task, /*backward=*/true, scratch);
  const int64_t step = TileTokens(task), vectors = w.width / kLanes;
  PlaceKeys(task, w.keys);
  PairsAcross(task, w, static_cast<const Half*>(task.k), w.k_across);
  PairsAcross(task, w, static_cast<const Half*>(task.v), w.v_across);
  PairsAlong(task, w, static_cast<const Half*>(task.k), w.k_along);
  SetZero(w.grad_k, w.keys.padded * w.width);
  SetZero(w.grad_v, w.keys.padded * w.width);
  for (int64_t from = 0; from < task.tokens; from += step) {
    const int64_t to = HWY_MIN(task.tokens, from + step), queries = (to - from) * task.group;
    const int64_t rows = RoundUp(queries, kRows);
    TakePairQueries(task, w, task.q, from, to, rows, w.q_rows, w.q_pairs);
    TakePairQueries(task, w, task.grad_out, from, to, rows, w.grad_rows, w.grad_pairs);
    TakeSums<Half>(task, from, to, rows, w.highest, w.total);
    SetZero(w.result, rows * w.width);
    for (int64_t tile = 0; tile < w.keys.tiles; ++tile) {
      const Sight sight = Look(w.keys, tile, from, to);
      if (sight.vectors == 0) continue;
      const int64_t keys = sight.vectors * kLanes, across = tile * kStride * w.half, along = tile * kKeys * w.width;
      product(w.q_rows, w.width / 2, 1, w.k_across + across, kStride, w.half, w.scores, kStride, rows, sight.vectors,
              false);
      product(w.grad_rows, w.width / 2, 1, w.v_across + across, kStride, w.half, w.grad_scores, kStride, rows,
              sight.vectors, false);
      for (int64_t i = 0; i < rows; i += 2) PairGradStep(task, w, tile, sight, from, i);
      product(w.weight_pairs, 1, kStride, w.grad_pairs, w.width, rows / 2, w.grad_v + along, w.width, keys, vectors,
              true);
      product(w.score_pairs, 1, kStride, w.q_pairs, w.width, rows / 2, w.grad_k + along, w.width, keys, vectors, true);
      product(w.score_rows, kStride / 2, 1, w.k_along + along / 2, w.width, keys / 2, w.result, w.width, rows, vectors,
              true);
    }
    StoreQueryGrads<Half>(task, from, queries, w.result, w.width);
  }
  StoreKeyGrads<Half>(task, w.keys, w.grad_k, w.grad_v, w.width, /*k_scale=*/task.scale);
}

}  // namespace throughline::ops::cpu::packed::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif  // include guard

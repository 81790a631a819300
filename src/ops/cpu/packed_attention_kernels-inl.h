// Compiled once a target by packed_attention_kernels.cc. No lambdas and no std templates in here: they would be
// compiled for the target and could then be linked into code for any machine.
#if defined(THROUGHLINE_PACKED_ATTENTION_KERNELS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef THROUGHLINE_PACKED_ATTENTION_KERNELS_INL
#undef THROUGHLINE_PACKED_ATTENTION_KERNELS_INL
#else
#define THROUGHLINE_PACKED_ATTENTION_KERNELS_INL
#endif

#include "ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::cpu::packed::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace row = throughline::ops::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::RebindToSigned<FloatTag>;
using Vec = hn::Vec<FloatTag>;
using row::Exp;

constexpr int64_t kLanes = hn::MaxLanes(FloatTag());
constexpr int64_t kRows = kLanes >= 16 ? 8 : 4;  // of a register tile; divides kLanes
constexpr int64_t kKeys = 128;                   // keys of a tile
constexpr int64_t kStride = kKeys + 16;          // of rows of that many: a power of two would fall into few cache sets
constexpr int64_t kQueries = 32;  // (token, head) pairs of a tile, or one token's heads: its scores leave room in L1
constexpr int32_t kNever = 0x7fffffff;
constexpr float kNoScore = -3.0e38f;
constexpr float kHuge = 3.0e38f;
constexpr float kUnseen = -__builtin_huge_valf();

HWY_INLINE int64_t RoundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// ---------------------------------------------------------------- products

// c[m][n] = or += sum over i of a[m * a_row + i * a_step] * b[i * b_row + n], for kM rows and kN vectors.
template <int kM, int kN>
HWY_INLINE void ProductTile(const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t b_row, int64_t depth,
                            float* c, int64_t c_row, bool add) {
  const FloatTag d;
  Vec acc[kM][kN];
  for (int m = 0; m < kM; ++m) {
    for (int n = 0; n < kN; ++n) acc[m][n] = add ? hn::Load(d, c + m * c_row + n * kLanes) : hn::Zero(d);
  }
  for (int64_t i = 0; i < depth; ++i) {
    Vec right[kN];
    for (int n = 0; n < kN; ++n) right[n] = hn::Load(d, b + i * b_row + n * kLanes);
    for (int m = 0; m < kM; ++m) {
      const Vec left = hn::Set(d, a[m * a_row + i * a_step]);
      for (int n = 0; n < kN; ++n) acc[m][n] = hn::MulAdd(left, right[n], acc[m][n]);
    }
  }
  for (int m = 0; m < kM; ++m) {
    for (int n = 0; n < kN; ++n) hn::Store(acc[m][n], d, c + m * c_row + n * kLanes);
  }
}

// The same for any multiple of kRows rows and any number of vectors.
HWY_NOINLINE void Product(const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t b_row, int64_t depth,
                          float* c, int64_t c_row, int64_t rows, int64_t vectors, bool add) {
  int64_t n = 0;
  for (; n + 2 <= vectors; n += 2) {
    for (int64_t m = 0; m < rows; m += kRows) {
      ProductTile<kRows, 2>(a + m * a_row, a_row, a_step, b + n * kLanes, b_row, depth, c + m * c_row + n * kLanes,
                            c_row, add);
    }
  }
  if (n == vectors) return;
  for (int64_t m = 0; m < rows; m += kRows) {
    ProductTile<kRows, 1>(a + m * a_row, a_row, a_step, b + n * kLanes, b_row, depth, c + m * c_row + n * kLanes, c_row,
                          add);
  }
}

// ---------------------------------------------------------------- keys and queries in scratch

// What a tile of keys is to a tile of queries.
struct KeyTile {
  int32_t first_place, last_place;  // least and largest; kNever where the tile is padded
  int32_t first_eviction, last_eviction;
};

struct Scratch {
  float* memory;  // null: only counts
  int64_t used = 0;
  HWY_INLINE float* Take(int64_t floats) {
    float* out = memory == nullptr ? nullptr : memory + used;
    used += RoundUp(floats, 16);
    return out;
  }
  HWY_INLINE uint32_t* Words(int64_t words) { return reinterpret_cast<uint32_t*>(Take(words)); }
};

// The keys of a task in the order they are taken.
struct KeyWorkspace {
  int64_t count, padded, tiles;
  int32_t *place, *evicted_at, *vector_place;  // [padded]; the least place of each vector
  KeyTile* tile;
  int64_t floats;

  KeyWorkspace(const PackedTask& task, bool backward, float* memory) {
    count = backward || task.order != nullptr ? task.tokens : task.to;
    padded = RoundUp(count, kKeys);
    tiles = padded / kKeys;
    Scratch scratch{memory};
    place = reinterpret_cast<int32_t*>(scratch.Take(padded));
    evicted_at = reinterpret_cast<int32_t*>(scratch.Take(padded));
    vector_place = reinterpret_cast<int32_t*>(scratch.Take(padded / kLanes));
    tile = reinterpret_cast<KeyTile*>(scratch.Take(tiles * 4));
    floats = scratch.used;
  }
};

HWY_INLINE int64_t TileTokens(const PackedTask& task) { return HWY_MAX(int64_t{1}, kQueries / task.group); }
HWY_INLINE int64_t TileQueries(const PackedTask& task) { return RoundUp(TileTokens(task) * task.group, kRows); }

struct Workspace {
  KeyWorkspace keys;
  int64_t queries, width;          // width: head_dim in whole vectors
  float* keys_across;              // K by tile: [head_dim, kStride]
  float* values;                   // forward: V, backward: K; [padded keys, width]
  float *query, *scores, *result;  // [queries, width], [queries, kStride], [queries, width]: out or dq
  float *highest,
      *total;  // [queries] and, by lane, [queries, kLanes]; backward: lse and sum(grad_out * out), [queries]
  float *values_across, *grad, *grad_scores;  // backward only
  float *grad_k, *grad_v;
  int64_t floats;  // of all of it

  Workspace(const PackedTask& task, bool backward, float* memory)
      : keys(task, backward, memory), queries(TileQueries(task)), width(RoundUp(task.head_dim, kLanes)) {
    Scratch scratch{memory, keys.floats};
    keys_across = scratch.Take(keys.tiles * kStride * task.head_dim);
    values = scratch.Take(keys.padded * width);
    query = scratch.Take(queries * width);
    scores = scratch.Take(queries * kStride);
    result = scratch.Take(queries * width);
    highest = scratch.Take(queries);
    total = scratch.Take(queries * kLanes);
    if (backward) {
      values_across = scratch.Take(keys.tiles * kStride * task.head_dim);
      grad = scratch.Take(queries * width);
      grad_scores = scratch.Take(queries * kStride);
      grad_k = scratch.Take(keys.padded * width);
      grad_v = scratch.Take(keys.padded * width);
    }
    floats = scratch.used;
  }
};

// A row of head_dim elements into fp32, zeros up to whole vectors, times `scale`.
template <class T>
HWY_INLINE void Widen(const T* from, int64_t head_dim, float scale, float* out) {
  const FloatTag d;
  const Vec factor = hn::Set(d, scale);
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    hn::Store(hn::Mul(row::load_floats(from + i, static_cast<size_t>(head_dim - i)), factor), d, out + i);
  }
}

template <class T>
HWY_INLINE void Narrow(const float* from, int64_t head_dim, float scale, T* out) {
  const FloatTag d;
  const Vec factor = hn::Set(d, scale);
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    row::store_floats(hn::Mul(hn::Load(d, from + i), factor), out + i, static_cast<size_t>(head_dim - i));
  }
}

HWY_INLINE void SetZero(float* out, int64_t floats) {
  const FloatTag d;
  for (int64_t i = 0; i < floats; i += kLanes) hn::Store(hn::Zero(d), d, out + i);
}

HWY_INLINE void PlaceKeys(const PackedTask& task, const KeyWorkspace& w) {
  for (int64_t j = 0; j < w.padded; ++j) {
    const int32_t place = j >= w.count ? kNever : task.order != nullptr ? task.order[j] : static_cast<int32_t>(j);
    w.place[j] = place;
    w.evicted_at[j] = j >= w.count || task.evicted_at == nullptr ? kNever : task.evicted_at[place];
  }
  for (int64_t j = 0; j < w.padded; j += kLanes) {
    int32_t least = kNever;
    for (int64_t i = j; i < j + kLanes; ++i) least = HWY_MIN(least, w.place[i]);
    w.vector_place[j / kLanes] = least;
  }
  for (int64_t t = 0; t < w.tiles; ++t) {
    KeyTile tile{kNever, 0, kNever, 0};
    for (int64_t j = t * kKeys; j < (t + 1) * kKeys; ++j) {
      tile.first_place = HWY_MIN(tile.first_place, w.place[j]);
      tile.last_place = HWY_MAX(tile.last_place, w.place[j]);
      tile.first_eviction = HWY_MIN(tile.first_eviction, w.evicted_at[j]);
      tile.last_eviction = HWY_MAX(tile.last_eviction, w.evicted_at[j]);
    }
    w.tile[t] = tile;
  }
}

// Rows of K or V in the order of w.place: by tile across (elements first), and along, each if not null.
template <class T>
HWY_NOINLINE void TakeKeys(const PackedTask& task, const KeyWorkspace& w, int64_t width, const T* from, float* across,
                           float* along, float* spare_row) {
  const int64_t head_dim = task.head_dim;
  for (int64_t j = 0; j < w.padded; ++j) {
    float* wide = along != nullptr ? along + j * width : spare_row;
    if (j < w.count) {
      Widen(from + w.place[j] * task.kv_stride, head_dim, 1.0f, wide);
    } else {
      SetZero(wide, width);
    }
    if (across == nullptr) continue;
    float* column = across + j / kKeys * kStride * head_dim + j % kKeys;
    for (int64_t i = 0; i < head_dim; ++i) column[i * kStride] = wide[i];
  }
}

// Queries (or what has their shape) of tokens [from, to) into a tile; the rest of the tile is zeros.
template <class T>
HWY_INLINE void TakeQueries(const PackedTask& task, const Workspace& w, const T* source, int64_t from, int64_t to,
                            float scale, float* out) {
  int64_t i = 0;
  for (int64_t t = from; t < to; ++t) {
    for (int64_t h = 0; h < task.group; ++h, ++i) {
      Widen(source + t * task.q_stride + h * task.head_dim, task.head_dim, scale, out + i * w.width);
    }
  }
  SetZero(out + i * w.width, (w.queries - i) * w.width);
}

// ---------------------------------------------------------------- who sees whom

struct Sight {
  int64_t vectors = 0;  // leading vectors of the tile that anybody of the queries may see; 0: none
  bool partly = false;  // some query does not see some key of these
};

HWY_INLINE Sight Look(const KeyWorkspace& w, int64_t tile, int64_t from, int64_t to) {
  Sight out;
  const KeyTile& t = w.tile[tile];
  if (t.first_place >= to || t.last_eviction <= from) return out;
  out.vectors = kKeys / kLanes;
  const int32_t* places = w.vector_place + tile * (kKeys / kLanes);
  while (places[out.vectors - 1] >= to) --out.vectors;
  out.partly = t.last_place > from || t.first_eviction < to;
  return out;
}

// Lanes of the keys at j.. that the query of token t sees.
HWY_INLINE hn::Mask<FloatTag> Seen(const KeyWorkspace& w, int64_t j, int64_t t) {
  const IntTag di;
  const auto token = hn::Set(di, static_cast<int32_t>(t));
  const auto begun = hn::Not(hn::Gt(hn::Load(di, w.place + j), token));
  return hn::RebindMask(FloatTag(), hn::And(begun, hn::Gt(hn::Load(di, w.evicted_at + j), token)));
}

// ---------------------------------------------------------------- forward

// What a query has summed so far, made relative to a new highest score.
HWY_INLINE void RaiseHighest(float* highest, float* total, float* result, int64_t width, Vec raised) {
  const FloatTag d;
  const float top = hn::GetLane(raised);
  if (top == *highest) return;
  const Vec keep = Exp(hn::Sub(hn::Set(d, *highest), raised));
  for (int64_t i = 0; i < width; i += kLanes) hn::Store(hn::Mul(hn::Load(d, result + i), keep), d, result + i);
  hn::Store(hn::Mul(hn::Load(d, total), keep), d, total);
  *highest = top;
}

// Sums over weights to outputs and lse.
template <class T>
HWY_INLINE void StoreOutputs(const PackedTask& task, int64_t from, int64_t queries, const float* result, int64_t width,
                             const float* highest, const float* total) {
  for (int64_t i = 0; i < queries; ++i) {
    const int64_t t = from + i / task.group, h = i % task.group;
    const float sum = hn::GetLane(hn::SumOfLanes(FloatTag(), hn::Load(FloatTag(), total + i * kLanes)));
    Narrow(result + i * width, task.head_dim, 1.0f / sum,
           static_cast<T*>(task.out) + t * task.q_stride + h * task.head_dim);
    if (task.lse != nullptr) task.lse[t * task.lse_stride + h] = highest[i] + logf(sum);
  }
}

// What a query has summed so far.
struct QuerySums {
  float *scores, *result, *highest, *total;
};

// One query's scores of a tile, times `scale`, to weights relative to the highest so far; what came before is made to
// match.
HWY_INLINE void SoftmaxStep(const KeyWorkspace& keys, int64_t tile, const Sight& sight, float scale, int64_t t,
                            int64_t width, const QuerySums& query) {
  const FloatTag d;
  const Vec unseen = hn::Set(d, kUnseen), factor = hn::Set(d, scale);
  Vec highest = hn::Set(d, *query.highest);
  for (int64_t n = 0; n < sight.vectors; ++n) {
    Vec score = hn::Mul(hn::Load(d, query.scores + n * kLanes), factor);
    if (sight.partly) score = hn::IfThenElse(Seen(keys, tile * kKeys + n * kLanes, t), score, unseen);
    hn::Store(score, d, query.scores + n * kLanes);
    highest = hn::Max(highest, score);
  }
  highest = hn::MaxOfLanes(d, highest);
  RaiseHighest(query.highest, query.total, query.result, width, highest);
  Vec total = hn::Load(d, query.total);
  for (int64_t n = 0; n < sight.vectors; ++n) {
    const Vec weight = Exp(hn::Sub(hn::Load(d, query.scores + n * kLanes), highest));
    hn::Store(weight, d, query.scores + n * kLanes);
    total = hn::Add(total, weight);
  }
  hn::Store(total, d, query.total);
}

// The softmax of a tile of queries.
template <class AnyWorkspace>
HWY_INLINE void SoftmaxTile(const PackedTask& task, const AnyWorkspace& w, int64_t tile, const Sight& sight,
                            float scale, int64_t from, int64_t queries) {
  for (int64_t i = 0; i < queries; ++i) {
    const QuerySums query{w.scores + i * kStride, w.result + i * w.width, w.highest + i, w.total + i * kLanes};
    SoftmaxStep(w.keys, tile, sight, scale, from + i / task.group, w.width, query);
  }
}

template <class T>
HWY_INLINE void ForwardAs(const PackedTask& task, float* scratch) {
  const Workspace w(task, /*backward=*/false, scratch);
  const int64_t step = TileTokens(task);
  PlaceKeys(task, w.keys);
  TakeKeys(task, w.keys, w.width, static_cast<const T*>(task.k), w.keys_across, nullptr, w.query);
  TakeKeys<T>(task, w.keys, w.width, static_cast<const T*>(task.v), nullptr, w.values, nullptr);
  for (int64_t from = task.from; from < task.to; from += step) {
    const int64_t to = HWY_MIN(task.to, from + step), queries = (to - from) * task.group;
    const int64_t rows = RoundUp(queries, kRows);
    TakeQueries(task, w, static_cast<const T*>(task.q), from, to, task.scale, w.query);
    SetZero(w.result, rows * w.width);
    for (int64_t i = 0; i < rows; ++i) w.highest[i] = kNoScore;
    SetZero(w.total, rows * kLanes);
    for (int64_t tile = 0; tile < w.keys.tiles; ++tile) {
      const Sight sight = Look(w.keys, tile, from, to);
      if (sight.vectors == 0) continue;
      Product(w.query, w.width, 1, w.keys_across + tile * kStride * task.head_dim, kStride, task.head_dim, w.scores,
              kStride, rows, sight.vectors, /*add=*/false);
      SoftmaxTile(task, w, tile, sight, /*scale=*/1.0f, from, queries);  // the queries were scaled
      Product(w.scores, kStride, 1, w.values + tile * kKeys * w.width, w.width, sight.vectors * kLanes, w.result,
              w.width, rows, w.width / kLanes, /*add=*/true);
    }
    StoreOutputs<T>(task, from, queries, w.result, w.width, w.highest, w.total);
  }
}

// ---------------------------------------------------------------- backward

// One query's scores to probabilities p and, in grad_scores, p * (dp - sum(grad_out * out)).
HWY_INLINE void GradStep(const Workspace& w, int64_t tile, const Sight& sight, int64_t t, int64_t query) {
  const FloatTag d;
  float *scores = w.scores + query * kStride, *grads = w.grad_scores + query * kStride;
  const Vec lse = hn::Set(d, w.highest[query]), along = hn::Set(d, w.total[query]);
  for (int64_t n = 0; n < sight.vectors; ++n) {
    Vec weight = Exp(hn::Sub(hn::Load(d, scores + n * kLanes), lse));
    if (sight.partly) weight = hn::IfThenElseZero(Seen(w.keys, tile * kKeys + n * kLanes, t), weight);
    hn::Store(weight, d, scores + n * kLanes);
    hn::Store(hn::Mul(weight, hn::Sub(hn::Load(d, grads + n * kLanes), along)), d, grads + n * kLanes);
  }
}

// lse and sum(grad_out * out) of a tile's queries; what pads the tile gets probability 0.
template <class T>
HWY_INLINE void TakeSums(const PackedTask& task, int64_t from, int64_t to, int64_t rows, float* lse, float* along) {
  const FloatTag d;
  int64_t i = 0;
  for (int64_t t = from; t < to; ++t) {
    for (int64_t h = 0; h < task.group; ++h, ++i) {
      const int64_t at = t * task.q_stride + h * task.head_dim;
      const T *out = static_cast<const T*>(task.out_read) + at, *grad = static_cast<const T*>(task.grad_out) + at;
      Vec sum = hn::Zero(d);
      for (int64_t e = 0; e < task.head_dim; e += kLanes) {
        const size_t left = static_cast<size_t>(task.head_dim - e);
        sum = hn::MulAdd(row::load_floats(out + e, left), row::load_floats(grad + e, left), sum);
      }
      lse[i] = task.lse_read[t * task.lse_stride + h];
      along[i] = hn::GetLane(hn::SumOfLanes(d, sum));
    }
  }
  for (; i < rows; ++i) lse[i] = kHuge, along[i] = 0;
}

template <class T>
HWY_INLINE void StoreQueryGrads(const PackedTask& task, int64_t from, int64_t queries, const float* grads,
                                int64_t width) {
  for (int64_t i = 0; i < queries; ++i) {
    T* grad = static_cast<T*>(task.grad_q) + (from + i / task.group) * task.q_stride + i % task.group * task.head_dim;
    Narrow(grads + i * width, task.head_dim, task.scale, grad);
  }
}

template <class T>
HWY_INLINE void StoreKeyGrads(const PackedTask& task, const KeyWorkspace& keys, const float* grad_k,
                              const float* grad_v, int64_t width, float k_scale) {
  for (int64_t j = 0; j < keys.count; ++j) {
    const int64_t at = keys.place[j] * task.kv_stride;
    Narrow(grad_k + j * width, task.head_dim, k_scale, static_cast<T*>(task.grad_k) + at);
    Narrow(grad_v + j * width, task.head_dim, 1.0f, static_cast<T*>(task.grad_v) + at);
  }
}

template <class T>
HWY_INLINE void BackwardAs(const PackedTask& task, float* scratch) {
  const Workspace w(task, /*backward=*/true, scratch);
  const int64_t step = TileTokens(task), vectors = w.width / kLanes;
  PlaceKeys(task, w.keys);
  TakeKeys(task, w.keys, w.width, static_cast<const T*>(task.k), w.keys_across, w.values, nullptr);
  TakeKeys<T>(task, w.keys, w.width, static_cast<const T*>(task.v), w.values_across, nullptr, w.query);
  SetZero(w.grad_k, w.keys.padded * w.width);
  SetZero(w.grad_v, w.keys.padded * w.width);
  for (int64_t from = 0; from < task.tokens; from += step) {
    const int64_t to = HWY_MIN(task.tokens, from + step), queries = (to - from) * task.group;
    const int64_t rows = RoundUp(queries, kRows);
    TakeQueries(task, w, static_cast<const T*>(task.q), from, to, task.scale, w.query);
    TakeQueries(task, w, static_cast<const T*>(task.grad_out), from, to, 1.0f, w.grad);
    TakeSums<T>(task, from, to, rows, w.highest, w.total);
    SetZero(w.result, rows * w.width);
    for (int64_t tile = 0; tile < w.keys.tiles; ++tile) {
      const Sight sight = Look(w.keys, tile, from, to);
      if (sight.vectors == 0) continue;
      const int64_t keys = sight.vectors * kLanes, across = tile * kStride * task.head_dim,
                    along = tile * kKeys * w.width;
      Product(w.query, w.width, 1, w.keys_across + across, kStride, task.head_dim, w.scores, kStride, rows,
              sight.vectors,
              /*add=*/false);
      Product(w.grad, w.width, 1, w.values_across + across, kStride, task.head_dim, w.grad_scores, kStride, rows,
              sight.vectors, /*add=*/false);
      for (int64_t i = 0; i < rows; ++i) GradStep(w, tile, sight, from + i / task.group, i);
      Product(w.scores, 1, kStride, w.grad, w.width, rows, w.grad_v + along, w.width, keys, vectors, /*add=*/true);
      Product(w.grad_scores, 1, kStride, w.query, w.width, rows, w.grad_k + along, w.width, keys, vectors,
              /*add=*/true);
      Product(w.grad_scores, kStride, 1, w.values + along, w.width, keys, w.result, w.width, rows, vectors,
              /*add=*/true);
    }
    StoreQueryGrads<T>(task, from, queries, w.result, w.width);
  }
  StoreKeyGrads<T>(task, w.keys, w.grad_k, w.grad_v, w.width, /*k_scale=*/1.0f);  // the queries were scaled
}

}  // namespace throughline::ops::cpu::packed::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard

// Compiled once a target by attention_kernels.cc. No lambdas and no std templates in here: they would be compiled for
// the target and could then be linked into code for any machine.
#if defined(THROUGHLINE_ATTENTION_KERNELS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef THROUGHLINE_ATTENTION_KERNELS_INL
#undef THROUGHLINE_ATTENTION_KERNELS_INL
#else
#define THROUGHLINE_ATTENTION_KERNELS_INL
#endif

#include "ops/cpu/attention_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::cpu::HWY_NAMESPACE {

// ---------------------------------------------------------------- one block of slots

// Room for a query in whatever form: fp32, bf16, or bytes for int8.
HWY_INLINE int64_t QueryFloats(int64_t head_dim) {
  return HWY_MAX(Padded(head_dim), kInt8QueryBytes / static_cast<int64_t>(sizeof(float)));
}

// All pointers into the caller's scratch.
struct Workspace {
  int64_t queries, padded;
  float* scores;  // [queries, kBlock]; then the softmax weights
  float* sums;    // [queries, padded], rows sums_stride apart: of this block
  int64_t sums_stride;
  float* highest;  // [queries]: of this block
  float* total;    // [queries]
  float* widened;  // [kValueSlots, padded]
  // Of each of the tasks that share the rest.
  float* query;  // [queries, QueryFloats()], or [queries, padded], scaled
  float* running_sums;
  float* running_highest;
  float* running_total;

  Workspace(int64_t query_count, int64_t head_dim, float* scratch, int64_t task = 0)
      : queries(query_count), padded(Padded(head_dim)) {
    scores = scratch;
    sums = scores + queries * kBlock;
    sums_stride = padded;
    widened = sums + queries * padded;
    highest = widened + kValueSlots * padded;
    total = highest + PerQuery(queries);
    query = total + PerQuery(queries) + task * OwnFloats(queries, head_dim);
    running_sums = query + queries * QueryFloats(head_dim);
    running_highest = running_sums + queries * padded;
    running_total = running_highest + PerQuery(queries);
  }
  static int64_t PerQuery(int64_t queries) { return (queries + 15) / 16 * 16; }
  static int64_t OwnFloats(int64_t queries, int64_t head_dim) {
    return queries * (QueryFloats(head_dim) + Padded(head_dim)) + 2 * PerQuery(queries);
  }
};

int64_t ScratchFloats(int64_t queries, int64_t head_dim, int64_t tasks) {
  return queries * (kBlock + Padded(head_dim)) + kValueSlots * Padded(head_dim) + 2 * Workspace::PerQuery(queries) +
         tasks * Workspace::OwnFloats(queries, head_dim);
}

constexpr int64_t kPartialHead = 16;  // highest, total, and padding to a whole cache line

int64_t PartialFloats(int64_t head_dim) { return kPartialHead + Padded(head_dim); }

// Whether scores come from bf16 queries as they are (ops/cpu/attention_scores.h): decided by model and machine, so that
// every query's scores have the same roundings in whatever tile.
HWY_INLINE bool UsesPairs(const AttentionTask& task) {
  return kLanes == 16 && task.score_slots != nullptr && task.q_bf16 && task.k->bf16 &&
         task.k->head_dim % kScoreHeadDimStep == 0;
}

// Whether softmax weights are rounded to bf16 to multiply values as they are (ops/cpu/attention_values.h): likewise.
HWY_INLINE bool UsesPairValues(const AttentionTask& task) {
  return UsesPairs(task) && task.values != nullptr && task.group >= kValueGroup &&
         task.v->head_dim % kValueHeadDimStep == 0;
}

// Slots of the block that query i sees.
HWY_INLINE int64_t SlotsSeen(const AttentionTask& task, int64_t block, int64_t query) {
  const int64_t seen = task.first_slots + query / task.group - block * kBlock;
  return HWY_MAX(int64_t{0}, HWY_MIN(seen, kBlock));
}

// The first min(left, kQueries) of `left` queries.
template <class Row, int kQueries = kMostQueries>
HWY_INLINE void ScoreSome(int64_t left, const float* queries, int64_t padded, const std::byte* const* rows,
                          int64_t ahead, float* scores) {
  if constexpr (kQueries > 1) {
    if (left < kQueries) return ScoreSome<Row, kQueries - 1>(left, queries, padded, rows, ahead, scores);
  }
  ScoreTile<Row, kQueries>(queries, padded, rows, ahead, scores);
}

template <class Row>
HWY_INLINE void ScoresOf(const AttentionTask& task, int64_t block, const std::byte* const* rows, int64_t slot,
                         int64_t ahead, const Workspace& w) {
  int64_t i = 0;
  // Rows see the more the later they are: queries before i may see nothing of these slots.
  while (i + kMostQueries <= w.queries && SlotsSeen(task, block, i + kMostQueries - 1) <= slot) i += kMostQueries;
  for (; i < w.queries; i += kMostQueries, ahead = 0) {
    ScoreSome<Row>(w.queries - i, w.query + i * w.padded, w.padded, rows, ahead, w.scores + i * kBlock + slot);
  }
}

HWY_INLINE void PairScores(const AttentionTask& task, int64_t block, const BlockRows& rows, const Workspace& w) {
  const uint16_t* queries = reinterpret_cast<const uint16_t*>(w.query);
  ScoreTask scores;
  scores.head_dim = task.k->head_dim;
  scores.scale = task.scale;
  scores.stride = kBlock;
  scores.ahead = rows.ahead;
  for (int64_t slot = 0; slot < rows.slots; slot += kScoreSlots) {
    int64_t i = 0;
    while (i + 4 <= w.queries && SlotsSeen(task, block, i + 3) <= slot) i += 4;
    scores.queries = queries + i * task.k->head_dim;
    scores.query_count = w.queries - i;
    scores.rows = rows.k() + slot;
    scores.scores = w.scores + i * kBlock + slot;
    task.score_slots(scores);
  }
}

// Whether int8 K and V are multiplied as they are (ops/cpu/int8_attention.h): likewise decided.
HWY_INLINE bool UsesInt8(const AttentionTask& task) {
  return task.int8 != nullptr && task.k->int8 && task.k->head_dim % kInt8HeadDimStep == 0 &&
         task.k->head_dim <= kInt8MostHeadDim;
}

HWY_INLINE void Int8Scores(const AttentionTask& task, const BlockRows& rows, const Workspace& w) {
  Int8ScoreTask scores;
  scores.queries = reinterpret_cast<const std::byte*>(w.query);
  scores.query_count = w.queries;
  scores.head_dim = task.k->head_dim;
  scores.slots = rows.padded_slots;
  scores.rows = rows.k();
  scores.scales = rows.k_scales();
  scores.ahead = rows.ahead;
  scores.scores = w.scores;
  task.int8->scores(scores);
}

// Softmax and values.
HWY_INLINE void Int8Values(const AttentionTask& task, int64_t block, const BlockRows& rows, const Workspace& w) {
  int64_t seen[kTileQueries];
  Int8ValueTask values;
  values.head_dim = task.v->head_dim;
  values.rows = rows.v();
  values.scales = rows.v_scales();
  values.ahead = rows.ahead;
  values.seen = seen;
  values.sums_stride = w.sums_stride;
  for (int64_t from = 0; from < w.queries; from += kTileQueries) {  // more than a tile's: of one row
    values.query_count = HWY_MIN(kTileQueries, w.queries - from);
    for (int64_t i = 0; i < values.query_count; ++i) seen[i] = SlotsSeen(task, block, from + i);
    values.scores = w.scores + from * kBlock;
    values.highest = w.highest + from;
    values.total = w.total + from;
    values.sums = w.sums + from * w.sums_stride;
    task.int8->values(values);
    values.ahead = 0;
  }
}

HWY_INLINE void PairValues(const AttentionTask& task, int64_t block, const BlockRows& rows, const Workspace& w) {
  int64_t seen[kTileQueries];
  ValueTask values;
  values.head_dim = task.v->head_dim;
  values.rows = rows.v();
  values.ahead = rows.ahead;
  values.seen = seen;
  values.sums_stride = w.sums_stride;
  for (int64_t from = 0; from < w.queries; from += kTileQueries) {  // more than a tile's: of one row
    values.query_count = HWY_MIN(kTileQueries, w.queries - from);
    for (int64_t i = 0; i < values.query_count; ++i) seen[i] = SlotsSeen(task, block, from + i);
    values.weights = w.scores + from * kBlock;
    values.sums = w.sums + from * w.sums_stride;
    task.values->sum(values);
    values.ahead = 0;
  }
}

HWY_NOINLINE void BlockScores(const AttentionTask& task, int64_t block, const BlockRows& rows, const Workspace& w) {
  if (UsesPairs(task)) return PairScores(task, block, rows, w);
  if (UsesInt8(task)) return Int8Scores(task, rows, w);
  const bool widen = w.queries >= kWidenQueries || task.k->int8 || task.k->head_dim % kChunk != 0;
  for (int64_t slot = 0; slot < rows.slots; slot += kScoreSlots) {
    const std::byte* wide_rows[kScoreSlots];
    for (int64_t i = 0; widen && i < kScoreSlots; ++i) {
      float* wide = w.widened + i * w.padded;
      FetchAhead(rows.k()[slot + i + rows.ahead], task.k->row_bytes());
      Widen(*task.k, rows.k() + slot, i, rows.k_scales()[slot + i], wide);
      wide_rows[i] = reinterpret_cast<const std::byte*>(wide);
    }
    for (int64_t i = 0; i < kScoreSlots; i += kLanes) {
      if (widen) {
        ScoresOf<WideRow>(task, block, wide_rows + i, slot + i, 0, w);
      } else if (task.k->bf16) {
        ScoresOf<Bf16Row>(task, block, rows.k() + slot + i, slot + i, rows.ahead, w);
      } else {
        ScoresOf<FloatRow>(task, block, rows.k() + slot + i, slot + i, rows.ahead, w);
      }
    }
  }
}

// Scores of one query to softmax weights relative to the block's highest.
HWY_NOINLINE void BlockSoftmax(float* scores, int64_t slots, float* highest_out, float* total_out) {
  const FloatTag d;
  Vec highest = hn::Set(d, kNoScore);
  for (int64_t i = 0; i < slots; i += kLanes) {
    const auto used = hn::FirstN(d, static_cast<size_t>(HWY_MIN(kLanes, slots - i)));
    const Vec score = hn::IfThenElse(used, hn::Load(d, scores + i), hn::Set(d, kNoScore));
    highest = hn::Max(highest, score);
  }
  highest = hn::MaxOfLanes(d, highest);
  Vec total = hn::Zero(d);
  for (int64_t i = 0; i < slots; i += kLanes) {
    const auto used = hn::FirstN(d, static_cast<size_t>(HWY_MIN(kLanes, slots - i)));
    const Vec weight = hn::IfThenElseZero(used, Exp(hn::Sub(hn::Load(d, scores + i), highest)));
    hn::Store(weight, d, scores + i);
    total = hn::Add(total, weight);
  }
  *highest_out = hn::GetLane(highest);
  *total_out = hn::GetLane(hn::SumOfLanes(d, total));
}

// min(left, kQueries) queries over slots [slot, slot + slots): together as far as all see, then each by itself.
template <class Row, int kQueries = kMostQueries>
HWY_INLINE void ValuesOfGroup(int64_t left, const AttentionTask& task, int64_t block, int64_t query,
                              const std::byte* const* rows, int64_t slot, int64_t slots, int64_t ahead,
                              const Workspace& w) {
  if constexpr (kQueries > 1) {
    if (left < kQueries) {
      return ValuesOfGroup<Row, kQueries - 1>(left, task, block, query, rows, slot, slots, ahead, w);
    }
  }
  if (SlotsSeen(task, block, query + kQueries - 1) <= slot) return;
  const int64_t common = HWY_MAX(int64_t{0}, HWY_MIN(slots, SlotsSeen(task, block, query) - slot));
  float* sums = w.sums + query * w.sums_stride;
  const float* weights = w.scores + query * kBlock + slot;
  ValueRows<Row, kQueries>(weights, rows, common, ahead, w.padded, sums, w.sums_stride);
  if (common == slots) return;
  for (int q = 0; q < kQueries; ++q) {
    const int64_t own = HWY_MIN(slots, SlotsSeen(task, block, query + q) - slot);
    ValueRows<Row, 1>(weights + q * kBlock + common, rows + common, own - common, 0, w.padded, sums + q * w.sums_stride,
                      w.sums_stride);
  }
}

template <class Row>
HWY_INLINE void ValuesOf(const AttentionTask& task, int64_t block, const std::byte* const* rows, int64_t slot,
                         int64_t slots, int64_t ahead, const Workspace& w) {
  for (int64_t i = 0; i < w.queries; i += kMostQueries, ahead = 0)
    ValuesOfGroup<Row>(w.queries - i, task, block, i, rows, slot, slots, ahead, w);
}

HWY_NOINLINE void BlockValues(const AttentionTask& task, int64_t block, const BlockRows& rows, const Workspace& w) {
  const FloatTag d;
  for (int64_t i = 0; i < w.queries; ++i) {
    for (int64_t e = 0; e < w.padded; e += kLanes) hn::Store(hn::Zero(d), d, w.sums + i * w.sums_stride + e);
  }
  if (UsesPairValues(task)) return PairValues(task, block, rows, w);
  const bool widen = w.queries >= kWidenQueries || task.v->int8 || task.v->head_dim % kChunk != 0;
  for (int64_t slot = 0; slot < rows.slots; slot += kValueSlots) {
    const int64_t count = HWY_MIN(kValueSlots, rows.slots - slot);
    const std::byte* const* narrow = rows.v() + slot;
    const std::byte* wide_rows[kValueSlots];
    for (int64_t i = 0; widen && i < count; ++i) {
      FetchAhead(narrow[i + rows.ahead], task.v->row_bytes());
      Widen(*task.v, narrow, i, rows.v_scales()[slot + i], w.widened + i * w.padded);
      wide_rows[i] = reinterpret_cast<const std::byte*>(w.widened + i * w.padded);
    }
    if (widen) {
      ValuesOf<WideRow>(task, block, wide_rows, slot, count, 0, w);
    } else if (task.v->bf16) {
      ValuesOf<Bf16Row>(task, block, narrow, slot, count, rows.ahead, w);
    } else {
      ValuesOf<FloatRow>(task, block, narrow, slot, count, rows.ahead, w);
    }
  }
}

// ---------------------------------------------------------------- whole tasks

// fp32 queries in whole vectors that need no other order.
HWY_INLINE bool PlainFloats(const AttentionTask& task) {
  return !task.q_bf16 && !task.k->bf16 && task.k->head_dim % kLanes == 0;
}

HWY_INLINE void LoadQueries(const AttentionTask& task, const Workspace& w) {
  const FloatTag d;
  const int64_t head_dim = task.k->head_dim;
  if (UsesPairs(task)) {
    uint16_t* queries = reinterpret_cast<uint16_t*>(w.query);
    for (int64_t i = 0; i < w.queries; ++i) {
      const int64_t begin = (i / task.group * task.q_heads + i % task.group) * head_dim;
      std::memcpy(queries + i * head_dim, task.q + 2 * begin, 2 * head_dim);
    }
    return;
  }
  if (UsesInt8(task)) {
    for (int64_t i = 0; i < w.queries; ++i) {
      const int64_t begin = (i / task.group * task.q_heads + i % task.group) * head_dim;
      task.int8->load_query(task.q + (task.q_bf16 ? 2 : 4) * begin, task.q_bf16, head_dim, task.scale,
                            reinterpret_cast<std::byte*>(w.query) + i * kInt8QueryBytes);
    }
    return;
  }
  for (int64_t i = 0; i < w.queries * w.padded; i += kLanes) hn::Store(hn::Zero(d), d, w.query + i);
  for (int64_t i = 0; i < w.queries; ++i) {
    const int64_t begin = (i / task.group * task.q_heads + i % task.group) * head_dim;
    if (PlainFloats(task)) {
      const float* from = reinterpret_cast<const float*>(task.q) + begin;
      for (int64_t e = 0; e < head_dim; e += kLanes)
        hn::Store(hn::Mul(hn::LoadU(d, from + e), hn::Set(d, task.scale)), d, w.query + i * w.padded + e);
      continue;
    }
    for (int64_t e = 0; e < head_dim; ++e) {
      float value;
      if (task.q_bf16) {
        uint16_t half;
        std::memcpy(&half, task.q + 2 * (begin + e), 2);
        const uint32_t bits = static_cast<uint32_t>(half) << 16;
        std::memcpy(&value, &bits, 4);
      } else {
        std::memcpy(&value, task.q + 4 * (begin + e), 4);
      }
      w.query[i * w.padded + LaneOf(task.k->bf16, e)] = value * task.scale;
    }
  }
}

// Folds one block of one query into what came before.
HWY_NOINLINE void MergeBlock(const float* sums, float highest, float total, int64_t padded, float* running_sums,
                             float* running_highest, float* running_total) {
  const FloatTag d;
  if (*running_total == 0) {  // the first
    *running_highest = highest;
    *running_total = total;
    for (int64_t i = 0; i < padded; i += kLanes) hn::Store(hn::Load(d, sums + i), d, running_sums + i);
    return;
  }
  const float top = HWY_MAX(*running_highest, highest);
  const float keep = *running_highest == top ? 1.0f : ExpOne(*running_highest - top);
  const float add = highest == top ? 1.0f : ExpOne(highest - top);
  *running_highest = top;
  *running_total = hn::GetLane(
      hn::MulAdd(hn::Set(d, *running_total), hn::Set(d, keep), hn::Mul(hn::Set(d, total), hn::Set(d, add))));
  for (int64_t i = 0; i < padded; i += kLanes) {
    const Vec old = hn::Mul(hn::Load(d, running_sums + i), hn::Set(d, keep));
    hn::Store(hn::MulAdd(hn::Load(d, sums + i), hn::Set(d, add), old), d, running_sums + i);
  }
}

HWY_INLINE void StartRunning(const Workspace& w) {
  const FloatTag d;
  for (int64_t i = 0; i < w.queries * w.padded; i += kLanes) hn::Store(hn::Zero(d), d, w.running_sums + i);
  for (int64_t i = 0; i < w.queries; ++i) {
    w.running_highest[i] = kNoScore;
    w.running_total[i] = 0;
  }
}

HWY_INLINE uint16_t RoundToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);  // NaN stays NaN
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// A chunk in a bf16 pool's lane layout, times `factor`, as bf16 in the order of elements.
HWY_INLINE void StoreHalves(const float* chunk, float factor, std::byte* out) {
  namespace rows = throughline::ops::HWY_NAMESPACE;
  const FloatTag d;
  const BitsTag bits;
  const uint16_t* const bf16 = nullptr;
  const Vec even = rows::round_to(hn::Mul(hn::Load(d, chunk), hn::Set(d, factor)), bf16);
  const Vec odd = rows::round_to(hn::Mul(hn::Load(d, chunk + kLanes), hn::Set(d, factor)), bf16);
  const auto both = hn::Or(hn::ShiftRight<16>(hn::BitCast(bits, even)), hn::BitCast(bits, odd));
  hn::StoreU(hn::BitCast(HalfBitsTag(), both), HalfBitsTag(), reinterpret_cast<uint16_t*>(out));
}

HWY_NOINLINE void Finish(const AttentionTask& task, const Workspace& w) {
  namespace rows = throughline::ops::HWY_NAMESPACE;
  const FloatTag d;
  const int64_t head_dim = task.k->head_dim;
  for (int64_t i = 0; i < w.queries; ++i) {
    const int64_t row = i / task.group, head = i % task.group;
    const int64_t begin = (row * task.q_heads + head) * head_dim;
    const float inverse = 1.0f / w.running_total[i];
    int64_t e = 0;
    if (!task.k->bf16) {
      for (; e + kLanes <= head_dim; e += kLanes) {
        const Vec value = hn::Mul(hn::Load(d, w.running_sums + i * w.padded + e), hn::Set(d, inverse));
        if (task.q_bf16) {
          rows::store_floats(value, reinterpret_cast<uint16_t*>(task.out) + begin + e);
        } else {
          rows::store_floats(value, reinterpret_cast<float*>(task.out) + begin + e);
        }
      }
    } else if (task.q_bf16) {
      for (; e + kChunk <= head_dim; e += kChunk)
        StoreHalves(w.running_sums + i * w.padded + e, inverse, task.out + 2 * (begin + e));
    }
    for (; e < head_dim; ++e) {
      const float value = w.running_sums[i * w.padded + LaneOf(task.k->bf16, e)] * inverse;
      if (task.q_bf16) {
        const uint16_t half = RoundToBf16(value);
        std::memcpy(task.out + 2 * (begin + e), &half, 2);
      } else {
        std::memcpy(task.out + 4 * (begin + e), &value, 4);
      }
    }
    if (task.lse != nullptr) {
      task.lse[row * task.q_heads + head] = w.running_highest[i] + logf(w.running_total[i]);
    }
  }
}

HWY_INLINE void AttendBlock(const AttentionTask& task, int64_t block, const BlockRows& rows, Workspace w) {
  if (task.partials != nullptr) {
    w.sums_stride = PartialFloats(task.k->head_dim);
    w.sums = task.partials + block * w.queries * w.sums_stride + kPartialHead;
  }
  BlockScores(task, block, rows, w);
  if (task.logits != nullptr) {
    for (int64_t i = 0; i < w.queries; ++i) {
      std::memcpy(task.logits + i * task.slots() + block * kBlock, w.scores + i * kBlock, rows.slots * sizeof(float));
    }
  }
  if (UsesInt8(task)) {
    Int8Values(task, block, rows, w);
  } else {
    const auto soften = UsesPairValues(task) ? task.values->soften : BlockSoftmax;
    for (int64_t i = 0; i < w.queries; ++i) {
      const int64_t seen = SlotsSeen(task, block, i);
      if (seen > 0) soften(w.scores + i * kBlock, seen, w.highest + i, w.total + i);
    }
    BlockValues(task, block, rows, w);
  }
  for (int64_t i = 0; i < w.queries; ++i) {
    if (SlotsSeen(task, block, i) == 0) continue;
    float* sums = w.sums + i * w.sums_stride;
    if (task.partials == nullptr) {
      MergeBlock(sums, w.highest[i], w.total[i], w.padded, w.running_sums + i * w.padded, w.running_highest + i,
                 w.running_total + i);
    } else {
      sums[-kPartialHead] = w.highest[i];
      sums[1 - kPartialHead] = w.total[i];
    }
  }
}

// What of `tasks` comes behind task i's `block`: block after block, in each all tasks that have it.
HWY_INLINE NextRows RowsAfter(const AttentionTask* tasks, int64_t count, int64_t i, int64_t block, int64_t end) {
  while (block < end) {
    if (++i == count) i = 0, ++block;
    if (tasks[i].block_begin <= block && block < tasks[i].block_end) return {tasks + i, block};
  }
  return {tasks[count - 1].next, 0};
}

void Attend(const AttentionTask* tasks, int64_t count, float* scratch) {
  const int64_t queries = tasks->queries(), head_dim = tasks->k->head_dim;
  int64_t block = tasks->block_begin, end = tasks->block_end;
  for (int64_t i = 0; i < count; ++i) {
    const Workspace w(queries, head_dim, scratch, i);
    LoadQueries(tasks[i], w);
    StartRunning(w);
    block = HWY_MIN(block, tasks[i].block_begin);
    end = HWY_MAX(end, tasks[i].block_end);
  }
  BlockRows rows;
  for (; block < end; ++block) {
    for (int64_t i = 0; i < count; ++i) {
      if (block < tasks[i].block_begin || block >= tasks[i].block_end) continue;
      SetRows(tasks[i], block, /*values=*/true, RowsAfter(tasks, count, i, block, end), rows);
      AttendBlock(tasks[i], block, rows, Workspace(queries, head_dim, scratch, i));
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    if (tasks[i].partials == nullptr) Finish(tasks[i], Workspace(queries, head_dim, scratch, i));
  }
}

void Merge(const AttentionTask& task, float* scratch) {
  const Workspace w(task.queries(), task.k->head_dim, scratch);
  StartRunning(w);
  const int64_t blocks = (task.slots() + kBlock - 1) / kBlock;
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t i = 0; i < w.queries; ++i) {
      if (SlotsSeen(task, block, i) == 0) continue;
      const float* partial = task.partials + (block * w.queries + i) * PartialFloats(task.k->head_dim);
      MergeBlock(partial + kPartialHead, partial[0], partial[1], w.padded, w.running_sums + i * w.padded,
                 w.running_highest + i, w.running_total + i);
    }
  }
  Finish(task, w);
}

// Adds the attention that blocks [block_begin, block_end) receive from the tile's queries, query after query.
void ColumnSums(const ColumnSumTask& column_task, float* scratch) {
  const FloatTag d;
  const AttentionTask& task = column_task.attention;
  const Workspace w(task.queries(), task.k->head_dim, scratch);
  LoadQueries(task, w);
  BlockRows rows;
  for (int64_t block = task.block_begin; block < task.block_end; ++block) {
    SetRows(task, block, /*values=*/false, {block + 1 < task.block_end ? &task : nullptr, block + 1}, rows);
    BlockScores(task, block, rows, w);
    float* sums = column_task.sums + block * kBlock;
    for (int64_t i = 0; i < w.queries; ++i) {
      const Vec lse = hn::Set(d, task.lse[i / task.group * task.q_heads + i % task.group]);
      const int64_t seen = SlotsSeen(task, block, i);
      for (int64_t slot = 0; slot < seen; slot += kLanes) {
        // min: the score was rounded in the first pass as it is here, but lse was rounded as well.
        const Vec weight = Exp(hn::Min(hn::Sub(hn::Load(d, w.scores + i * kBlock + slot), lse), hn::Zero(d)));
        HWY_ALIGN float lanes[kLanes];
        hn::Store(weight, d, lanes);
        const int64_t used = HWY_MIN(kLanes, seen - slot);
        if (used == kLanes) {
          hn::StoreU(hn::Add(hn::LoadU(d, sums + slot), weight), d, sums + slot);
        } else {
          for (int64_t lane = 0; lane < used; ++lane) sums[slot + lane] += lanes[lane];
        }
      }
    }
  }
}

// Elements i .. i + count of a row of fp32 or bf16, zeros behind.
HWY_INLINE Vec LoadSome(const std::byte* from, bool bf16, int64_t i, int64_t count) {
  if (bf16) return throughline::ops::HWY_NAMESPACE::load_floats(reinterpret_cast<const uint16_t*>(from) + i, count);
  return throughline::ops::HWY_NAMESPACE::load_floats(reinterpret_cast<const float*>(from) + i, count);
}

float QuantizeRow(const std::byte* from, bool bf16, int64_t head_dim, const Int8Tile& tile, int64_t token,
                  std::byte* to) {
  const FloatTag d;
  const hn::Rebind<int8_t, FloatTag> d8;
  Vec largest = hn::Zero(d), bad = hn::Zero(d);
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    const Vec x = LoadSome(from, bf16, i, head_dim - i);
    largest = hn::Max(largest, hn::Abs(x));
    bad = hn::Add(bad, hn::Mul(x, hn::Zero(d)));  // NaN for whatever is not finite
  }
  const float most = hn::GetLane(hn::MaxOfLanes(d, largest)), wrong = hn::GetLane(hn::SumOfLanes(d, bad));
  const Vec factor = hn::Set(d, most > 0 ? 127.0f / most : 0.0f);
  const Vec limit = hn::Set(d, 127.0f);
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    const Vec x = hn::Mul(LoadSome(from, bf16, i, head_dim - i), factor);
    const auto number = hn::DemoteTo(d8, hn::NearestInt(hn::Max(hn::Neg(limit), hn::Min(limit, x))));
    HWY_ALIGN int8_t out[kLanes];
    hn::StoreU(number, d8, out);
    tile.put(reinterpret_cast<const std::byte*>(out), token, i, HWY_MIN(kLanes, head_dim - i), to);
  }
  return most * (1.0f / 127.0f) + wrong;
}

void WidenKeyRow(const std::byte* tile, int64_t token, float scale, int64_t head_dim, float* to) {
  WidenKey(tile, token, scale, head_dim, to);
}

void WidenValueRow(const std::byte* tile, int64_t token, float scale, int64_t head_dim, float* to) {
  WidenValue(tile, token, scale, head_dim, to);
}

void KeyNumbersRow(const std::byte* tile, int64_t token, int64_t head_dim, uint16_t* to) {
  WidenKey(tile, token, 1.0f, head_dim, to);
}

AttentionKernels Kernels() {
  return {ScratchFloats, PartialFloats, Attend,        Merge,        ColumnSums,
          QuantizeRow,   WidenKeyRow,   WidenValueRow, KeyNumbersRow};
}

}  // namespace throughline::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard

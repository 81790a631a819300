// Where the rows of a block of slots lie, in the order they will be read, with those to fetch ahead. Compiled once a
// target; no lambdas and no std templates, as attention_kernels-inl.h.
#if defined(THROUGHLINE_ATTENTION_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef THROUGHLINE_ATTENTION_ROWS_INL
#undef THROUGHLINE_ATTENTION_ROWS_INL
#else
#define THROUGHLINE_ATTENTION_ROWS_INL
#endif

#include "ops/cpu/attention_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::cpu::HWY_NAMESPACE {

// The rows of one block: K, then V, then a few K of what comes next, in the order they will be read.
struct BlockRows {
  int64_t slots = 0;
  const std::byte* rows[2 * (kBlock + kScoreSlots) + kPrefetchSlots + 8];  // 8: what FillRows() may write behind
  float scales[2 * (kBlock + kScoreSlots)];                                // int8 only: of K, then V
  const std::byte* const* k() const { return rows; }
  const std::byte* const* v() const { return rows + padded_slots; }
  const float* k_scales() const { return scales; }
  const float* v_scales() const { return scales + padded_slots; }
  int64_t ahead = 0;         // rows to fetch ahead
  int64_t padded_slots = 0;  // K and V are padded to whole tiles by repeating the last row
};

// The addresses of slots [begin, begin + count) of a head, then the last one again up to padded_count. What lies
// behind, up to a vector, may be written too.
HWY_INLINE void FillRows(const PageLayout& pages, const AttentionTask& task, int64_t begin, int64_t count,
                         int64_t padded_count, const std::byte** out) {
  const hn::ScalableTag<int64_t> d;
  constexpr int64_t kAtOnce = hn::MaxLanes(d);
  const int64_t row_bytes = pages.row_bytes();
  HWY_ALIGN int64_t steps[kAtOnce];
  for (int64_t j = 0; j < kAtOnce; ++j) steps[j] = j * row_bytes;
  const auto offsets = hn::Load(d, steps), further = hn::Set(d, kAtOnce * row_bytes);
  int64_t* to = reinterpret_cast<int64_t*>(out);
  int64_t page = begin / pages.page_tokens, in_page = begin - page * pages.page_tokens;
  for (int64_t i = 0; i < count; ++page, in_page = 0) {
    const int64_t run = HWY_MIN(count - i, pages.page_tokens - in_page);
    const std::byte* first = pages.head_page(task.page_table[page], task.kv_head) + in_page * row_bytes;
    auto rows = hn::Add(hn::Set(d, reinterpret_cast<int64_t>(first)), offsets);
    for (int64_t j = 0; j < run; j += kAtOnce, rows = hn::Add(rows, further)) hn::StoreU(rows, d, to + i + j);
    i += run;
  }
  const std::byte* last = out[count - 1];
  for (int64_t i = count; i < padded_count; ++i) out[i] = last;
}

HWY_INLINE void FillScales(const PageLayout& pages, const AttentionTask& task, int64_t begin, int64_t count,
                           int64_t padded_count, float* out) {
  for (int64_t i = 0; i < count;) {
    const int64_t in_page = (begin + i) % pages.page_tokens;
    const int64_t run = HWY_MIN(count - i, pages.page_tokens - in_page);
    std::memcpy(out + i, pages.scale(task.page_table, task.kv_head, begin + i), run * sizeof(float));
    i += run;
  }
  for (int64_t i = count; i < padded_count; ++i) out[i] = out[count - 1];
}

// Scales lie behind a page's rows, off the way of the rows' prefetching.
HWY_INLINE void FetchScales(const PageLayout& pages, const AttentionTask& task, int64_t begin, int64_t end) {
  while (begin < end) {
    const int64_t run = HWY_MIN(end - begin, pages.page_tokens - begin % pages.page_tokens);
    FetchAhead(pages.scale(task.page_table, task.kv_head, begin), run * static_cast<int64_t>(sizeof(float)));
    begin += run;
  }
}

// A block whose keys will be read behind another's rows, or none.
struct NextRows {
  const AttentionTask* task;
  int64_t block;
};

HWY_INLINE void SetRows(const AttentionTask& task, int64_t block, bool values, const NextRows& next, BlockRows& out) {
  const int64_t begin = block * kBlock;
  out.slots = HWY_MIN(kBlock, task.slots() - begin);
  out.ahead = HWY_MAX(kLeastPrefetchSlots, HWY_MIN(kPrefetchSlots, kPrefetchBytes / task.k->row_bytes()));
  out.padded_slots = (out.slots + kScoreSlots - 1) / kScoreSlots * kScoreSlots;
  FillRows(*task.k, task, begin, out.slots, out.padded_slots, out.rows);
  const std::byte** end = out.rows + out.padded_slots;
  if (values) {
    FillRows(*task.v, task, begin, out.slots, out.padded_slots, end);
    end += out.padded_slots;
  }
  if (task.k->int8) {
    FillScales(*task.k, task, begin, out.slots, out.padded_slots, out.scales);
    if (values) FillScales(*task.v, task, begin, out.slots, out.padded_slots, out.scales + out.padded_slots);
  }
  int64_t ahead = 0;
  if (next.task != nullptr) {
    const int64_t from = next.block * kBlock, left = next.task->slots() - from;
    ahead = HWY_MIN(kPrefetchSlots, left);
    FillRows(*task.k, *next.task, from, ahead, kPrefetchSlots, end);
    if (task.k->int8) {
      FetchScales(*task.k, *next.task, from, from + HWY_MIN(kBlock, left));
      if (values) FetchScales(*task.v, *next.task, from, from + HWY_MIN(kBlock, left));
    }
  }
  for (int64_t i = ahead > 0 ? kPrefetchSlots : 0; i < kPrefetchSlots; ++i) end[i] = end[-1];
}

}  // namespace throughline::ops::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif

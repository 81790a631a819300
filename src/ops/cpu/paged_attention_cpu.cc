#include "ops/cpu/paged_attention_cpu.h"

#include <algorithm>

#include "ops/cpu/attention_kernels.h"
#include "ops/cpu/thread_tasks.h"
#include "ops/cpu/tile_attention.h"
#include "ops/paged_layout.h"
#include "ops/parallel.h"

namespace throughline::ops::cpu {
namespace {

constexpr int64_t kTasksPerThread = 4;  // enough to even out threads that start late or are disturbed
constexpr int64_t kFewQueries = 16;     // of a tile, up to which reading takes longer than multiplying
constexpr int64_t kPairRows = 32;       // of a sequence, from which packing K and V pays

struct Plan {
  std::vector<AttentionTask> tasks;   // in the order they are started
  std::vector<int64_t> groups;        // where those begin that are done together; the last one's end
  std::vector<AttentionTask> merges;  // of those that were cut into ranges of blocks
};

int64_t blocks_of(const AttentionTask& task) {
  return (task.slots() + kAttentionBlockSlots - 1) / kAttentionBlockSlots;
}
int64_t cost_of(const AttentionTask& task) { return blocks_of(task) * (task.queries() + 4); }  // 4: reading the slots

// What differs from task to task is filled in by the caller.
AttentionTask common_task(bool q_bf16, int64_t q_heads, const PageLayout& k, const PageLayout& v, double scale) {
  AttentionTask task;
  task.k = &k, task.v = &v;
  task.q_bf16 = q_bf16;
  task.q_heads = q_heads, task.group = q_heads / k.kv_heads;
  task.scale = static_cast<float>(scale);
  task.score_slots = score_slots_bf16();
  task.values = attention_values_bf16();
  task.int8 = int8_attention();
  return task;
}
AttentionTask common_task(const at::Tensor& q, const PageLayout& k, const PageLayout& v, double scale) {
  return common_task(q.scalar_type() == at::kBFloat16, q.size(1), k, v, scale);
}

// Whether a sequence's rows go through tile_attention(), whose tasks are not cut: there must be enough of them.
bool by_pairs(const AttentionTask& task, int64_t rows) {
  const int64_t tile_rows = std::max<int64_t>(1, kPairTileQueries / task.group);
  return rows >= kPairRows && task.k->kv_heads * ((rows + tile_rows - 1) / tile_rows) >= 2 * thread_count() &&
         tile_attention_supported() && tile_attention_fits(task);
}

// (sequence, KV head, rows) tiles; the longest of a sequence first.
void add_tiles(const at::Tensor& q, const at::Tensor& out, const PagedBatch& batch, const AttentionProbe* probe,
               NumericMode mode, AttentionTask task, std::vector<AttentionTask>& tiles) {
  const int64_t kv_heads = task.k->kv_heads, row_elements = q.size(1) * q.size(2);
  std::byte* q_bytes = static_cast<std::byte*>(q.data_ptr());
  std::byte* out_bytes = static_cast<std::byte*>(out.data_ptr());
  for (int32_t s = 0; s < batch.seqs(); ++s) {
    const int64_t begin = batch.row_begin[s], rows = batch.row_begin[s + 1] - begin;
    task.page_table = batch.page_table.data() + int64_t{s} * batch.max_pages;
    task.by_pairs = mode == NumericMode::kFast && by_pairs(task, rows);
    const int64_t tile_rows = std::max<int64_t>(1, (task.by_pairs ? kPairTileQueries : kTileQueries) / task.group);
    for (int64_t tile = (rows + tile_rows - 1) / tile_rows - 1; tile >= 0; --tile) {
      for (int64_t head = 0; head < kv_heads; ++head) {
        const int64_t row = begin + tile * tile_rows, length = batch.lengths[s * kv_heads + head];
        const int64_t element = row * row_elements + head * task.group * q.size(2);
        task.kv_head = head;
        task.rows = std::min(tile_rows, rows - tile * tile_rows);
        task.first_slots = length - rows + 1 + tile * tile_rows;
        task.block_begin = 0, task.block_end = blocks_of(task);
        task.q = q_bytes + element * q.element_size();
        task.out = out_bytes + element * q.element_size();
        if (probe != nullptr && probe->lse.defined()) {
          task.lse = probe->lse.data_ptr<float>() + row * task.q_heads + head * task.group;
        }
        task.logits = nullptr;
        if (probe != nullptr && !probe->logits.empty() && probe->logits[s].defined()) {
          task.logits = probe->logits[s].data_ptr<float>() + head * task.group * length;
        }
        tiles.push_back(task);
      }
    }
  }
}

struct Cut {
  int64_t tiles = 1;   // done together
  int64_t pieces = 1;  // ranges of blocks
  int64_t blocks = 0;
};

// How to do the tiles from `tile` on. Few queries are bound by memory, and heads are then read together: unless one by
// one they make more even shares.
Cut cut_of(const AttentionTask* tile, int64_t share) {
  const auto of = [&](int64_t count) {
    Cut out{.tiles = count};
    int64_t cost = 0;
    for (int64_t i = 0; i < count; ++i) {
      out.blocks = std::max(out.blocks, blocks_of(tile[i]));
      cost += cost_of(tile[i]);
    }
    if (thread_count() > 1 && !tile->by_pairs) out.pieces = std::max<int64_t>(1, (cost + share / 2) / share);
    return out;
  };
  const bool together = tile->kv_head == 0 && tile->queries() <= kFewQueries && !tile->by_pairs;
  Cut out = of(together ? tile->k->kv_heads : 1);
  if (out.tiles > 1 && out.pieces > out.blocks) out = of(1);
  out.pieces = std::min(out.pieces, out.blocks);
  return out;
}

// Groups tiles, and cuts what is much larger than a thread's fair share into ranges of blocks.
void plan_tasks(const std::vector<AttentionTask>& tiles, const AttentionKernels& kernels, FloatBuffer& partials,
                Plan& plan) {
  int64_t total = 0;
  for (const AttentionTask& tile : tiles) total += cost_of(tile);
  const int64_t share = std::max<int64_t>(1, total / (thread_count() * kTasksPerThread));
  const int64_t partial_floats = kernels.partial_floats(tiles.front().k->head_dim);
  const auto floats_of = [&](const AttentionTask& tile) { return blocks_of(tile) * tile.queries() * partial_floats; };
  int64_t floats = 0;
  for (size_t first = 0; first < tiles.size();) {
    const Cut cut = cut_of(&tiles[first], share);
    for (int64_t i = 0; i < cut.tiles && cut.pieces > 1; ++i) floats += floats_of(tiles[first + i]);
    first += cut.tiles;
  }
  float* next = partials.at_least(floats);
  for (size_t first = 0; first < tiles.size();) {
    const Cut cut = cut_of(&tiles[first], share);
    const size_t merges = plan.merges.size();
    for (int64_t i = 0; i < cut.tiles && cut.pieces > 1; ++i) {
      plan.merges.push_back(tiles[first + i]);
      plan.merges.back().partials = next;
      next += floats_of(tiles[first + i]);
    }
    for (int64_t piece = 0; piece < cut.pieces; ++piece) {
      plan.groups.push_back(static_cast<int64_t>(plan.tasks.size()));
      for (int64_t i = 0; i < cut.tiles; ++i) {
        AttentionTask task = cut.pieces > 1 ? plan.merges[merges + i] : tiles[first + i];
        const int64_t blocks = task.block_end;
        task.block_begin = std::min(blocks, cut.blocks * piece / cut.pieces);
        task.block_end = std::min(blocks, cut.blocks * (piece + 1) / cut.pieces);
        plan.tasks.push_back(task);
      }
    }
    first += cut.tiles;
  }
  plan.groups.push_back(static_cast<int64_t>(plan.tasks.size()));
}

float* thread_scratch(const AttentionKernels& kernels, const AttentionTask& task, int64_t count = 1) {
  static thread_local FloatBuffer scratch;
  return scratch.at_least(task.by_pairs ? tile_attention_scratch_floats(task.queries(), task.k->head_dim)
                                        : kernels.scratch_floats(task.queries(), task.k->head_dim, count));
}

void attend(const AttentionKernels& kernels, const AttentionTask* tasks, int64_t count) {
  float* scratch = thread_scratch(kernels, *tasks, count);
  tasks->by_pairs ? tile_attention(*tasks, scratch) : kernels.attend(tasks, count, scratch);
}

}  // namespace

void paged_attention(const at::Tensor& q, const PagedKv& kv, const PagedBatch& batch, double scale,
                     AttentionProbe* probe, NumericMode mode, const at::Tensor& out) {
  if (out.numel() == 0) return;
  static thread_local FloatBuffer partials;
  static thread_local Plan plan;
  static thread_local std::vector<AttentionTask> tiles;
  tiles.clear();
  plan.tasks.clear();
  plan.groups.clear();
  plan.merges.clear();
  const PageLayout k = PageLayout::of(kv, KvSide::kKeys), v = PageLayout::of(kv, KvSide::kValues);
  const AttentionKernels kernels = attention_kernels();
  add_tiles(q, out, batch, probe, mode, common_task(q, k, v, scale), tiles);
  plan_tasks(tiles, kernels, partials, plan);
  const Plan& work = plan;  // the caller's, also on other threads
  run_tasks(static_cast<int64_t>(work.groups.size()) - 1, [&](int64_t i) {
    attend(kernels, work.tasks.data() + work.groups[i], work.groups[i + 1] - work.groups[i]);
  });
  run_tasks(static_cast<int64_t>(work.merges.size()),
            [&](int64_t i) { kernels.merge(work.merges[i], thread_scratch(kernels, work.merges[i])); });
}

void paged_attention(const float* q, const PagedRows& rows, const PagedKv& kv, double scale, float* out) {
  static thread_local std::vector<AttentionTask> tasks;
  const PagedBatch& batch = *rows.batch;
  const PageLayout k = PageLayout::of(kv, KvSide::kKeys), v = PageLayout::of(kv, KvSide::kValues);
  const AttentionKernels kernels = attention_kernels();
  AttentionTask task = common_task(/*q_bf16=*/false, rows.q_heads, k, v, scale);
  const int64_t row_elements = rows.q_heads * k.head_dim, first = batch.row_begin[rows.from];
  const int64_t tile_rows = std::max<int64_t>(1, kTileQueries / task.group);
  tasks.clear();
  for (int64_t s = rows.from; s < rows.to; ++s) {
    const int64_t begin = batch.row_begin[s], count = batch.row_begin[s + 1] - begin;
    task.page_table = batch.page_table.data() + s * batch.max_pages;
    for (int64_t head = 0; head < k.kv_heads; ++head) {
      for (int64_t row = 0; row < count; row += tile_rows) {
        const int64_t element = (begin - first + row) * row_elements + head * task.group * k.head_dim;
        task.kv_head = head;
        task.rows = std::min(tile_rows, count - row);
        task.first_slots = batch.lengths[s * k.kv_heads + head] - count + 1 + row;
        task.block_begin = 0, task.block_end = blocks_of(task);
        task.q = reinterpret_cast<const std::byte*>(q + element);
        task.out = reinterpret_cast<std::byte*>(out + element);
        tasks.push_back(task);
      }
    }
  }
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (i + 1 < tasks.size()) tasks[i].next = &tasks[i + 1];
    attend(kernels, &tasks[i], 1);
  }
}

void paged_attention_column_sums(const at::Tensor& q, const at::Tensor& lse, const PagedKv& kv, const PagedBatch& batch,
                                 int32_t seq, double scale, const at::Tensor& sums) {
  const int64_t kv_heads = kv.kv_heads(), rows = batch.row_begin[seq + 1] - batch.row_begin[seq];
  if (rows == 0) return;
  const PageLayout k = PageLayout::of(kv, KvSide::kKeys), v = PageLayout::of(kv, KvSide::kValues);
  const AttentionKernels kernels = attention_kernels();
  AttentionProbe probe{.lse = lse, .logits = {}};
  PagedBatch one;  // this sequence alone
  one.row_begin = {0, static_cast<int32_t>(rows)};
  one.max_pages = batch.max_pages;
  one.page_table.assign(batch.page_table.begin() + int64_t{seq} * batch.max_pages,
                        batch.page_table.begin() + int64_t{seq + 1} * batch.max_pages);
  one.lengths.assign(batch.lengths.begin() + seq * kv_heads, batch.lengths.begin() + (seq + 1) * kv_heads);
  probe.lse = lse.narrow(0, batch.row_begin[seq], rows);
  const at::Tensor q_rows = q.narrow(0, batch.row_begin[seq], rows);
  std::vector<AttentionTask> tiles;
  add_tiles(q_rows, q_rows, one, &probe, NumericMode::kExact, common_task(q, k, v, scale), tiles);
  std::reverse(tiles.begin(), tiles.end());  // a slot adds rows in their order
  // A task owns its slots: one KV head, one block, all tiles.
  const int64_t longest = *std::max_element(one.lengths.begin(), one.lengths.end());
  const int64_t blocks = (longest + kAttentionBlockSlots - 1) / kAttentionBlockSlots;
  run_tasks(kv_heads * blocks, [&](int64_t i) {
    const int64_t head = i / blocks, block = i % blocks;
    for (const AttentionTask& tile : tiles) {
      if (tile.kv_head != head || blocks_of(tile) <= block) continue;
      ColumnSumTask task{tile, sums.data_ptr<float>() + head * sums.stride(0)};
      task.attention.block_begin = block, task.attention.block_end = block + 1;
      kernels.column_sums(task, thread_scratch(kernels, tile));
    }
  });
}

}  // namespace throughline::ops::cpu

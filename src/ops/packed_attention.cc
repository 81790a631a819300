#include "ops/packed_attention.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>

#include "base/result.h"
#include "ops/cpu/packed_attention_kernels.h"
#include "ops/cpu/thread_tasks.h"
#include "ops/parallel.h"

namespace throughline::ops {
namespace {

constexpr int64_t kLongRow = 1024;  // forward: a longer row is cut into pieces of so many tokens for the threads

// Who lies where: element offsets of one KV head of one row.
struct Head {
  int64_t row, tokens, q_offset, kv_offset, lse_offset, set_offset;
};

std::vector<Head> heads_of(const at::Tensor& q, const at::Tensor& k, const PackedRows& rows) {
  const int64_t kv_heads = k.size(1), group = q.size(1) / kv_heads, dim = q.size(2);
  std::vector<Head> out;
  for (int64_t r = 0; r < rows.rows(); ++r) {
    const int64_t begin = rows.row_begin[r], tokens = rows.row_begin[r + 1] - begin;
    for (int64_t head = 0; tokens > 0 && head < kv_heads; ++head) {
      const int64_t set = rows.evicts_in(r) && rows.evicted_at.size(0) > 1 ? head : 0;
      out.push_back({r, tokens, (begin * q.size(1) + head * group) * dim, (begin * kv_heads + head) * dim,
                     begin * q.size(1) + head * group, set * q.size(0) + begin});
    }
  }
  // The longest first, so that no thread is left with one at the end.
  std::stable_sort(out.begin(), out.end(), [](const Head& a, const Head& b) { return a.tokens > b.tokens; });
  return out;
}

// Keys by when they went, then by place: a tile of keys that went together is soon out of sight.
class KeyOrders {
 public:
  KeyOrders(const std::vector<Head>& heads, const PackedRows& rows) {
    if (rows.evicts.empty()) return;
    orders_.resize(rows.evicted_at.numel());
    std::vector<int64_t> starts;  // of each (row, set) that evicts, once
    std::vector<int64_t> tokens;
    for (const Head& head : heads) {
      if (!rows.evicts_in(head.row) || std::find(starts.begin(), starts.end(), head.set_offset) != starts.end())
        continue;
      starts.push_back(head.set_offset);
      tokens.push_back(head.tokens);
    }
    const int32_t* evicted_at = rows.evicted_at.const_data_ptr<int32_t>();
    run_tasks(static_cast<int64_t>(starts.size()), [&](int64_t i) {
      int32_t* order = orders_.data() + starts[i];
      const int32_t* at = evicted_at + starts[i];
      std::iota(order, order + tokens[i], 0);
      std::sort(order, order + tokens[i],
                [at](int32_t a, int32_t b) { return at[a] != at[b] ? at[a] < at[b] : a < b; });
    });
  }
  const int32_t* of(const Head& head) const { return orders_.data() + head.set_offset; }

 private:
  std::vector<int32_t> orders_;
};

template <class T>
T* at_element(const at::Tensor& x, int64_t element) {
  return reinterpret_cast<T*>(static_cast<std::byte*>(x.data_ptr()) + element * x.element_size());
}

cpu::PackedTask common_task(const Head& head, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const PackedRows& rows, const KeyOrders& orders, double scale) {
  cpu::PackedTask task;
  task.q = at_element<void>(q, head.q_offset);
  task.k = at_element<void>(k, head.kv_offset);
  task.v = at_element<void>(v, head.kv_offset);
  task.bf16 = q.scalar_type() == at::kBFloat16;
  task.q_stride = q.size(1) * q.size(2), task.kv_stride = k.size(1) * k.size(2);
  task.tokens = head.tokens, task.group = q.size(1) / k.size(1), task.head_dim = q.size(2);
  task.scale = static_cast<float>(scale);
  task.lse_stride = q.size(1);
  task.from = 0, task.to = head.tokens;
  if (rows.evicts_in(head.row)) {
    task.order = orders.of(head);
    task.evicted_at = rows.evicted_at.const_data_ptr<int32_t>() + head.set_offset;
  }
  return task;
}

float* thread_scratch(int64_t floats) {
  static thread_local cpu::FloatBuffer scratch;
  return scratch.at_least(floats);
}

}  // namespace

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PackedRows& rows,
                            double scale, at::Tensor* lse) {
  if (!q.device().is_cpu()) return packed_attention_reference(q, k, v, rows, scale, lse);
  check_packed(q, k, v, rows);
  const at::Tensor qc = q.contiguous(), kc = k.contiguous(), vc = v.contiguous();
  at::Tensor out = at::empty(qc.sizes(), qc.options());
  if (lse != nullptr) *lse = at::empty({q.size(0), q.size(1)}, at::kFloat);
  const std::vector<Head> heads = heads_of(qc, kc, rows);
  const KeyOrders orders(heads, rows);
  std::vector<cpu::PackedTask> tasks;
  for (const Head& head : heads) {
    cpu::PackedTask task = common_task(head, qc, kc, vc, rows, orders, scale);
    task.out = at_element<void>(out, head.q_offset);
    if (lse != nullptr) task.lse = lse->data_ptr<float>() + head.lse_offset;
    // Later queries see more: their piece is started first.
    for (int64_t piece = (head.tokens - 1) / kLongRow; piece >= 0; --piece) {
      task.from = piece * kLongRow;
      task.to = std::min(head.tokens, task.from + kLongRow);
      tasks.push_back(task);
    }
  }
  const cpu::PackedKernels kernels = cpu::packed_kernels();
  run_tasks(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
    kernels.forward(tasks[i], thread_scratch(kernels.floats(tasks[i], /*backward=*/false)));
  });
  return out;
}

PackedAttentionGrads packed_attention_backward(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
                                               const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                               const PackedRows& rows, double scale) {
  if (!q.device().is_cpu()) return packed_attention_backward_reference(grad_out, q, k, v, out, lse, rows, scale);
  check_packed(q, k, v, rows);
  TL_CHECK(grad_out.sizes() == q.sizes() && out.sizes() == q.sizes() && grad_out.scalar_type() == q.scalar_type() &&
               out.scalar_type() == q.scalar_type() && lse.sizes() == q.sizes().slice(0, 2) && lse.is_contiguous() &&
               lse.scalar_type() == at::kFloat,
           "packed attention: gradient, output or lse do not match q");
  const at::Tensor qc = q.contiguous(), kc = k.contiguous(), vc = v.contiguous();
  const at::Tensor gc = grad_out.contiguous(), oc = out.contiguous();
  PackedAttentionGrads grads{at::empty(qc.sizes(), qc.options()), at::empty(kc.sizes(), kc.options()),
                             at::empty(vc.sizes(), vc.options())};
  const std::vector<Head> heads = heads_of(qc, kc, rows);
  const KeyOrders orders(heads, rows);
  const cpu::PackedKernels kernels = cpu::packed_kernels();
  run_tasks(static_cast<int64_t>(heads.size()), [&](int64_t i) {
    const Head& head = heads[i];
    cpu::PackedTask task = common_task(head, qc, kc, vc, rows, orders, scale);
    task.out_read = at_element<void>(oc, head.q_offset);
    task.grad_out = at_element<void>(gc, head.q_offset);
    task.lse_read = lse.const_data_ptr<float>() + head.lse_offset;
    task.grad_q = at_element<void>(grads.q, head.q_offset);
    task.grad_k = at_element<void>(grads.k, head.kv_offset);
    task.grad_v = at_element<void>(grads.v, head.kv_offset);
    kernels.backward(task, thread_scratch(kernels.floats(task, /*backward=*/true)));
  });
  return grads;
}

}  // namespace throughline::ops

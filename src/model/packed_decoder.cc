#include "model/packed_decoder.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "ops/autograd.h"
#include "ops/cpu/panel_gemm.h"
#include "ops/cpu/thread_tasks.h"
#include "ops/huge_pages.h"
#include "ops/parallel.h"
#include "ops/row_kernels.h"

namespace throughline {
namespace {

using ops::f32;
using ops::f32_out;
namespace kernels = ops::kernels;

constexpr int64_t kMostBytes = int64_t{256} << 20;
// Rows a task takes: enough that reading a weight from L3 and a last tile of few rows cost little (64 rather than 32:
// 4 % of a step), few enough that L2 holds what the task writes.
constexpr int64_t kTaskRows = 64;
constexpr int64_t kLeastRowsOfThread = 8;  // or the threads had better share out the weights
constexpr int64_t kHeadPanels = 8;         // of a task

void add_bias(const float* bias, float* y, int64_t rows, int64_t n) {
  for (int64_t r = 0; bias != nullptr && r < rows; ++r) {
    for (int64_t i = 0; i < n; ++i) y[r * n + i] += bias[i];
  }
}

}  // namespace

// One task's rows: those of sequences [from, to), and room for what is computed of them.
struct PackedDecoder::Rows {
  int64_t from, to, count;
  float *x, *h, *q, *k, *v, *ffn, *gate, *up;

  static int64_t floats(const ModelConfig& c) {
    const int64_t q = c.q_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    return c.hidden + std::max(c.hidden, q) + q + 2 * kv + c.ffn + 2 * kernels::panel_columns();
  }
  Rows(const ModelConfig& c, int64_t first, int64_t end, int64_t rows, float* memory)
      : from(first), to(end), count(rows) {
    const int64_t q_width = c.q_heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
    const auto take = [&](int64_t width) { return std::exchange(memory, memory + rows * width); };
    x = take(c.hidden), h = take(std::max(c.hidden, q_width)), q = take(q_width), k = take(kv_width);
    v = take(kv_width), ffn = take(c.ffn), gate = take(kernels::panel_columns()), up = take(kernels::panel_columns());
  }
};

bool PackedDecoder::suits(const Decoder& decoder) {
  return decoder.dtype() == at::kFloat && decoder.weight_format() == ops::WeightFormat::kPlain &&
         decoder.embedding_.device().is_cpu() && decoder.weight_bytes() <= kMostBytes;
}

PackedDecoder::Matrix PackedDecoder::pack(const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor w = weight.contiguous();
  const int64_t out = w.size(0), in = w.size(1), width = kernels::panel_columns(), panels = (out + width - 1) / width;
  Matrix matrix{.memory = ops::empty_in_huge_pages({panels * width * in}, at::kFloat), .out = out, .in = in};
  TL_CHECK(!bias.defined() || bias.is_contiguous(), "a bias must be contiguous");
  if (bias.defined()) matrix.bias = f32(bias);
  kernels::pack_panels(f32(w), 1, in, in, out, 0, panels, f32_out(matrix.memory));
  matrix.panels = f32(matrix.memory);
  return matrix;
}

PackedDecoder::PackedDecoder(const Decoder& decoder) : decoder_(decoder) {
  TL_CHECK(suits(decoder), "a decoder of this kind cannot be packed");
  for (const DecoderLayer& l : decoder.layers_) {
    layers_.push_back({pack(l.q_weight, l.q_bias), pack(l.k_weight, l.k_bias), pack(l.v_weight, l.v_bias),
                       pack(l.o_weight, l.o_bias), pack(l.gate_weight, l.gate_bias), pack(l.up_weight, l.up_bias),
                       pack(l.down_weight, l.down_bias)});
  }
  head_ = pack(decoder.head_, {});
}

bool PackedDecoder::takes(const StepAttention& attention) {
  if (!attention.by_sequence()) return false;
  const std::span<const int32_t> begin = attention.row_begin();
  int64_t longest = 0;
  for (size_t s = 0; s + 1 < begin.size(); ++s) longest = std::max<int64_t>(longest, begin[s + 1] - begin[s]);
  const int64_t share = begin.back() / ops::thread_count();
  return begin.back() >= kLeastRows && share >= kLeastRowsOfThread && longest <= std::max<int64_t>(1, share / 2);
}

void PackedDecoder::Matrix::multiply(const float* x, int64_t rows, const float* add, float* y) const {
  kernels::panel_gemm(x, in, 1, panels, add, y, out, rows, out, in);
  add_bias(bias, y, rows, out);
}

void PackedDecoder::run_ffn(int64_t layer, const Rows& r) const {
  const ModelConfig& c = decoder_.config_;
  const Layer& w = layers_[static_cast<size_t>(layer)];
  const int64_t width = kernels::panel_columns();
  for (int64_t n = 0; n < c.ffn; n += width) {
    const int64_t used = std::min(width, c.ffn - n), at = n * c.hidden;
    for (const auto& [matrix, y] : {std::pair{&w.gate, r.gate}, std::pair{&w.up, r.up}}) {
      kernels::panel_gemm(r.h, c.hidden, 1, matrix->panels + at, nullptr, y, used, r.count, used, c.hidden);
      add_bias(matrix->bias != nullptr ? matrix->bias + n : nullptr, y, r.count, used);
    }
    for (int64_t i = 0; i < r.count; ++i)
      kernels::silu_mul(r.gate + i * used, r.up + i * used, r.ffn + i * c.ffn + n, used);
  }
  w.down.multiply(r.ffn, r.count, r.x, r.x);
}

void PackedDecoder::run_layer(int64_t layer, const Rows& r, StepAttention& attention) const {
  const ModelConfig& c = decoder_.config_;
  const Layer& w = layers_[static_cast<size_t>(layer)];
  const DecoderLayer& plain = decoder_.layers_[static_cast<size_t>(layer)];
  kernels::rms_norm(r.x, f32(plain.input_norm), r.h, r.count, c.hidden, c.norm_eps);
  w.q.multiply(r.h, r.count, nullptr, r.q);
  w.k.multiply(r.h, r.count, nullptr, r.k);
  w.v.multiply(r.h, r.count, nullptr, r.v);
  if (c.qk_norm) {
    kernels::rms_norm(r.q, f32(plain.q_norm), r.q, r.count * c.q_heads, c.head_dim, c.norm_eps);
    kernels::rms_norm(r.k, f32(plain.k_norm), r.k, r.count * c.kv_heads, c.head_dim, c.norm_eps);
  }
  attention.attend_sequences(static_cast<int>(layer), r.from, r.to, r.q, r.k, r.v, r.h);
  w.o.multiply(r.h, r.count, r.x, r.x);
  kernels::rms_norm(r.x, f32(plain.post_attention_norm), r.h, r.count, c.hidden, c.norm_eps);
  run_ffn(layer, r);
}

at::Tensor PackedDecoder::forward(const at::Tensor& ids, StepAttention& attention) const {
  const ModelConfig& c = decoder_.config_;
  const std::span<const int32_t> begin = attention.row_begin();
  TL_CHECK(ids.dim() == 1 && ids.size(0) == begin.back() && ids.scalar_type() == at::kLong && ids.is_contiguous(),
           "ids do not match the step's rows");
  const int64_t rows = ids.size(0), sequences = static_cast<int64_t>(begin.size()) - 1;
  const auto* id = ids.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < rows; ++i) TL_CHECK(id[i] >= 0 && id[i] < c.vocab, "an id is not in the vocabulary");
  at::Tensor hidden = at::empty({rows, c.hidden}, at::kFloat);
  float* out = f32_out(hidden);
  const int64_t share = (rows + ops::thread_count() - 1) / ops::thread_count();
  const int64_t tasks = (rows + std::min(kTaskRows, share) - 1) / std::min(kTaskRows, share);
  // The sequence in which the i-th task begins.
  const auto first_of = [&](int64_t i) {
    const auto row = static_cast<int32_t>(rows * i / tasks);
    return i == tasks ? sequences : std::lower_bound(begin.begin(), begin.end(), row) - begin.begin();
  };
  ops::run_tasks(tasks, [&](int64_t i) {
    static thread_local ops::cpu::FloatBuffer memory;
    const int64_t from = first_of(i), to = first_of(i + 1);
    if (from == to) return;
    const int64_t row = begin[from], count = begin[to] - row;
    const Rows r(c, from, to, count, memory.at_least(count * Rows::floats(c)));
    for (int64_t n = 0; n < count; ++n)
      std::memcpy(r.x + n * c.hidden, f32(decoder_.embedding_) + id[row + n] * c.hidden, c.hidden * sizeof(float));
    for (int64_t layer = 0; layer < c.layers; ++layer) run_layer(layer, r, attention);
    kernels::rms_norm(r.x, f32(decoder_.final_norm_), out + row * c.hidden, count, c.hidden, c.norm_eps);
  });
  return hidden;
}

at::Tensor PackedDecoder::logits(const at::Tensor& hidden_in) const {
  const at::Tensor hidden = hidden_in.contiguous();
  const int64_t rows = hidden.size(0), n = head_.out, in = head_.in;
  const int64_t columns = kHeadPanels * kernels::panel_columns(), parts = (n + columns - 1) / columns;
  const int64_t block = std::clamp<int64_t>(rows / ops::thread_count(), 1, kTaskRows);
  at::Tensor out = at::empty({rows, n}, at::kFloat);
  ops::run_tasks((rows + block - 1) / block * parts, [&](int64_t i) {
    const int64_t row = i / parts * block, from = i % parts * columns;
    kernels::panel_gemm(f32(hidden) + row * in, in, 1, head_.panels + from * in, nullptr, f32_out(out) + row * n + from,
                        n, std::min(block, rows - row), std::min(columns, n - from), in);
  });
  return out;
}

}  // namespace throughline

#include "ops/token_logprobs.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "ops/autograd.h"
#include "ops/linear.h"
#include "ops/matmul.h"
#include "ops/parallel.h"
#include "ops/row_kernels.h"

namespace throughline::ops {
namespace {

// fp32 logits held at a time. Few large chunks beat many small ones: the head is read (and its gradient written) once
// a chunk; but a chunk that stays in cache spares the softmax a trip to memory.
constexpr int64_t kChunkBytes = int64_t{16} << 20;
constexpr int64_t kSmallestChunk = 64, kLargestChunk = 4096;
constexpr int64_t kElementsPerThread = 1 << 14;

int64_t chunk_rows(int64_t vocab) {
  return std::clamp<int64_t>(kChunkBytes / (4 * std::max<int64_t>(1, vocab)), kSmallestChunk, kLargestChunk);
}

at::Tensor chunk_logits(const at::Tensor& hidden, const at::Tensor& head, NumericMode mode) {
  if (mode == NumericMode::kFast) return matmul_nt(hidden, head).to(at::kFloat);
  return linear(hidden, head, at::Tensor(), mode).to(at::kFloat);
}

template <class Work>
void for_rows(int64_t rows, int64_t vocab, const Work& work) {
  const int64_t grain = std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, vocab));
  parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) work(r);
  });
}

void forward_into(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets, float inverse_t,
                  NumericMode mode, float* logprobs, float* entropy) {
  const int64_t rows = hidden.size(0), vocab = head.size(0), chunk = chunk_rows(vocab);
  const auto* target = targets.const_data_ptr<int64_t>();
  for (int64_t from = 0; from < rows; from += chunk) {
    const at::Tensor logits = chunk_logits(hidden.narrow(0, from, std::min(chunk, rows - from)), head, mode);
    const float* x = f32(logits);
    for_rows(logits.size(0), vocab, [&](int64_t r) {
      const auto softmax = kernels::scaled_softmax(x + r * vocab, vocab, inverse_t);
      logprobs[from + r] = softmax.logprob(x[r * vocab + target[from + r]]);
      entropy[from + r] = softmax.entropy;
    });
  }
}

Tensors slopes(const NodeSlopes& node, float inverse_t, NumericMode mode) {
  const at::Tensor &hidden = node.saved[0], &head = node.saved[1];
  const auto* target = node.saved[2].const_data_ptr<int64_t>();
  const int64_t rows = hidden.size(0), vocab = head.size(0), chunk = chunk_rows(vocab);
  const at::Tensor upstream = node.grads[0].contiguous();
  const float* slope = f32(upstream);
  at::Tensor grad_hidden, grad_head;
  if (node.wanted(0)) grad_hidden = at::empty(hidden.sizes(), hidden.options());
  if (node.wanted(1)) grad_head = at::zeros(head.sizes(), head.options().dtype(at::kFloat));
  for (int64_t from = 0; from < rows; from += chunk) {
    const at::Tensor part = hidden.narrow(0, from, std::min(chunk, rows - from));
    const at::Tensor logits = chunk_logits(part, head, mode);
    float* x = f32_out(logits);
    for_rows(logits.size(0), vocab, [&](int64_t r) {
      const auto softmax = kernels::scaled_softmax(x + r * vocab, vocab, inverse_t);
      kernels::logprob_slope(x + r * vocab, x + r * vocab, vocab, softmax, target[from + r], slope[from + r]);
    });
    const at::Tensor grad_logits = logits.to(head.scalar_type());
    if (grad_hidden.defined()) grad_hidden.narrow(0, from, part.size(0)).copy_(matmul_nn(grad_logits, head));
    if (grad_head.defined()) add_matmul_tn(grad_head, grad_logits, part);
  }
  if (grad_head.defined()) grad_head = grad_head.to(head.scalar_type());
  return {grad_hidden, grad_head};
}

}  // namespace

TokenLogprobs token_logprobs(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets,
                             double temperature, NumericMode mode) {
  check_element_type(hidden, "token_logprobs");
  TL_CHECK(hidden.device().is_cpu(), "token_logprobs runs on the CPU only");
  TL_CHECK(hidden.dim() == 2 && head.dim() == 2 && hidden.size(1) == head.size(1), "token_logprobs: shapes differ");
  TL_CHECK(targets.scalar_type() == at::kLong && targets.dim() == 1 && targets.size(0) == hidden.size(0),
           "token_logprobs: wants one int64 target a row");
  TL_CHECK(temperature > 0, "token_logprobs: temperature must be over 0");
  const at::Tensor rows = hidden.contiguous(), ids = targets.contiguous();
  const int64_t vocab = head.size(0);
  const auto* id = ids.const_data_ptr<int64_t>();
  for (int64_t r = 0; r < ids.size(0); ++r)
    TL_CHECK(id[r] >= 0 && id[r] < vocab, "token_logprobs: target out of range");
  const auto inverse_t = static_cast<float>(1 / temperature);
  const auto forward = [&](Tensors& saved) -> Tensors {
    const auto fp32 = hidden.options().dtype(at::kFloat).requires_grad(false);
    Tensors out{at::empty({rows.size(0)}, fp32), at::empty({rows.size(0)}, fp32)};
    forward_into(rows, head, ids, inverse_t, mode, f32_out(out[0]), f32_out(out[1]));
    saved = {rows, head, ids};
    return out;
  };
  Tensors unsaved;
  const Tensors out = needs_grad({&hidden, &head})
                          ? differentiable({rows, head}, forward,
                                           [=](const NodeSlopes& node) { return slopes(node, inverse_t, mode); }, {1})
                          : forward(unsaved);
  return {out[0], out[1]};
}

}  // namespace throughline::ops

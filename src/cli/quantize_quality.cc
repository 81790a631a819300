#include "cli/quantize_quality.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cache/page_pool.h"
#include "cache/sequence_cache.h"
#include "cache/step_attention.h"
#include "model/dense_attention.h"

namespace throughline {
namespace {

// fp32 logits [rows, vocab] of one window.
at::Tensor window_logits(const Decoder& decoder, const at::Tensor& ids) {
  std::vector<int64_t> positions(ids.size(0));
  std::iota(positions.begin(), positions.end(), 0);
  DenseAttention attention({0, ids.size(0)}, positions, decoder.rope(), decoder.attention_scale());
  return decoder.logits(decoder.forward(ids, attention, ops::NumericMode::kFast), ops::NumericMode::kFast).contiguous();
}

at::Tensor window_logits_int8_kv(const Decoder& decoder, const at::Tensor& ids) {
  const ModelConfig& c = decoder.config();
  KvShape shape{.layers = c.layers, .kv_heads = c.kv_heads, .head_dim = c.head_dim, .dtype = at::kChar};
  auto pool = PagePool::create(shape, ids.size(0) / shape.page_tokens + 1).value();
  SequenceCache cache(pool.get(), nullptr, c.q_heads, decoder.attention_scale(), ids.size(0));
  cache.reserve(ids.size(0));
  StepAttention attention({{&cache, std::vector<TokenKind>(static_cast<size_t>(ids.size(0)), TokenKind::kPrompt)}},
                          decoder.rope(), decoder.attention_scale());  // as decoding reads the pages
  return decoder.logits(decoder.forward(ids, attention, ops::NumericMode::kFast), ops::NumericMode::kFast).contiguous();
}

struct RowStats {
  double log_sum = 0;  // log(sum(exp(logits)))
  int64_t best = 0;
};

RowStats row_stats(const float* logits, int64_t vocab) {
  RowStats out;
  out.best = std::max_element(logits, logits + vocab) - logits;
  double sum = 0;
  for (int64_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(logits[i]) - logits[out.best]);
  out.log_sum = logits[out.best] + std::log(sum);
  return out;
}

}  // namespace

QualityReport compare_models(const Decoder& reference, const Decoder& model, const std::vector<int64_t>& ids,
                             int64_t window, bool int8_kv) {
  const at::NoGradGuard no_grad;
  const int64_t vocab = reference.config().vocab, total = static_cast<int64_t>(ids.size());
  QualityReport out;
  std::vector<double> divergences;
  int64_t next_tokens = 0;
  for (int64_t from = 0; from < total; from += window) {
    const int64_t rows = std::min(window, total - from);
    const at::Tensor part = at::from_blob(const_cast<int64_t*>(ids.data()) + from, {rows}, at::kLong);
    const at::Tensor want = window_logits(reference, part),
                     got = int8_kv ? window_logits_int8_kv(model, part) : window_logits(model, part);
    for (int64_t r = 0; r < rows; ++r) {
      const float *p = want.const_data_ptr<float>() + r * vocab, *q = got.const_data_ptr<float>() + r * vocab;
      const RowStats ps = row_stats(p, vocab), qs = row_stats(q, vocab);
      double kl = 0;
      for (int64_t i = 0; i < vocab; ++i) {
        const double log_p = p[i] - ps.log_sum;
        kl += std::exp(log_p) * (log_p - (q[i] - qs.log_sum));
      }
      divergences.push_back(std::max(0.0, kl));
      out.top1_agreement += ps.best == qs.best ? 1 : 0;
      if (r + 1 == rows) continue;
      const int64_t next = ids[from + r + 1];
      out.reference_loss += ps.log_sum - p[next];
      out.model_loss += qs.log_sum - q[next];
      ++next_tokens;
    }
  }
  out.positions = static_cast<int64_t>(divergences.size());
  if (out.positions == 0) return out;
  out.mean_kl = std::accumulate(divergences.begin(), divergences.end(), 0.0) / static_cast<double>(out.positions);
  std::sort(divergences.begin(), divergences.end());
  out.p99_kl = divergences[static_cast<size_t>(std::ceil(0.99 * static_cast<double>(out.positions))) - 1];
  out.top1_agreement /= static_cast<double>(out.positions);
  if (next_tokens > 0) {
    out.reference_loss /= static_cast<double>(next_tokens);
    out.model_loss /= static_cast<double>(next_tokens);
  }
  return out;
}

}  // namespace throughline

#include "cache/selection.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "ops/summed_attention.h"

namespace throughline {
namespace {

template <class Reduce>
at::Tensor pool(const at::Tensor& x, int64_t kernel, Reduce reduce) {
  TL_CHECK(kernel % 2 == 1 && x.dim() == 2 && x.scalar_type() == at::kFloat, "pools take fp32 [sets, n], odd kernels");
  if (kernel == 1) return x;
  const at::Tensor source = x.contiguous();
  at::Tensor out = at::empty_like(source);
  const int64_t n = source.size(1), reach = kernel / 2;
  for (int64_t set = 0; set < source.size(0); ++set) {
    const float* row = source.data_ptr<float>() + set * n;
    float* target = out.data_ptr<float>() + set * n;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t begin = std::max<int64_t>(0, i - reach), end = std::min(n, i + reach + 1);
      target[i] = reduce(row + begin, row + end);
    }
  }
  return out;
}

}  // namespace

std::vector<int64_t> all_rows(const ScoreInputs& in) {
  std::vector<int64_t> rows(in.query_steps.size());
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

at::Tensor candidate_attention(const ScoreInputs& in, std::span<const int64_t> rows, ops::GroupVote vote) {
  const at::Tensor keys = in.keys.narrow(1, in.first_candidate, in.candidates);
  at::Tensor scales = in.key_scales;
  if (scales.defined()) scales = scales.narrow(1, in.first_candidate, in.candidates);
  return ops::summed_attention(in.queries.contiguous(), rows, keys, in.scale, vote, scales);
}

at::Tensor group_mean(const at::Tensor& x, int64_t groups) {
  const at::Tensor source = x.contiguous();
  const int64_t n = source.size(1), group = source.size(0) / groups;
  at::Tensor out = at::zeros({groups, n}, at::kFloat);
  for (int64_t h = 0; h < source.size(0); ++h) {
    const float* row = source.data_ptr<float>() + h * n;
    float* target = out.data_ptr<float>() + h / group * n;
    for (int64_t i = 0; i < n; ++i) target[i] += row[i];
  }
  float* values = out.data_ptr<float>();
  for (int64_t i = 0; i < out.numel(); ++i) values[i] /= static_cast<float>(group);
  return out;
}

at::Tensor position_scores(const ScoreInputs& in) {
  return in.positions.narrow(1, in.first_candidate, in.candidates).to(at::kFloat);
}

at::Tensor average_pool(const at::Tensor& x, int64_t kernel, PoolEdge edge) {
  return pool(x, kernel, [&](const float* begin, const float* end) {
    const int64_t divisor = edge == PoolEdge::kCountPadding ? kernel : end - begin;
    return std::accumulate(begin, end, 0.0F) / static_cast<float>(divisor);
  });
}

at::Tensor max_pool(const at::Tensor& x, int64_t kernel) {
  return pool(x, kernel, [](const float* begin, const float* end) { return *std::max_element(begin, end); });
}

std::vector<int64_t> lowest(std::span<const float> scores, int64_t count) {
  std::vector<int64_t> index(scores.size());
  std::iota(index.begin(), index.end(), 0);
  const auto value = [&](int64_t i) {
    return std::isnan(scores[i]) ? -std::numeric_limits<float>::infinity() : scores[i];
  };
  const auto goes_before = [&](int64_t a, int64_t b) {
    const float x = value(a), y = value(b);
    return x != y ? x < y : a < b;
  };
  TL_CHECK(count >= 0 && count <= static_cast<int64_t>(index.size()), "more to choose than there is");
  if (count < static_cast<int64_t>(index.size())) {
    std::nth_element(index.begin(), index.begin() + count, index.end(), goes_before);
  }
  index.resize(count);
  std::sort(index.begin(), index.end());
  return index;
}

}  // namespace throughline

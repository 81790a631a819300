#include "cache/selection.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/linear.h"
#include "ops/parallel.h"

namespace throughline {
namespace {

// Logits of so many rows are held at once: 64 rows of 32K candidates are 8 MiB.
constexpr int64_t kRowBlock = 64;

// Exponentials below which a second thread costs more than it saves.
constexpr int64_t kWorkPerThread = 1 << 14;

// values[0 .. n) become their softmax, added to sum[0 .. n).
void add_softmax(float* values, int64_t n, float* sum) {
  const float peak = *std::max_element(values, values + n);
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    values[i] = std::exp(values[i] - peak);
    total += values[i];
  }
  const float inverse = static_cast<float>(1 / total);
  for (int64_t i = 0; i < n; ++i) sum[i] += values[i] * inverse;
}

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

at::Tensor candidate_attention(const ScoreInputs& in, std::span<const int64_t> rows, GroupVote vote) {
  const int64_t group = in.q_heads / in.kv_heads, n = in.candidates, head_dim = in.keys.size(2);
  const int64_t per_head = vote == GroupVote::kEach ? group : 1;
  at::Tensor sums = at::zeros({in.kv_heads * per_head, n}, at::kFloat);
  const at::Tensor queries = in.queries.contiguous();
  const int64_t count = static_cast<int64_t>(rows.size());
  for (int64_t head = 0; head < in.kv_heads; ++head) {
    const at::Tensor keys = in.keys[head].narrow(0, in.first_candidate, n).contiguous();
    for (int64_t begin = 0; begin < count; begin += kRowBlock) {
      const int64_t block = std::min(kRowBlock, count - begin);
      at::Tensor q = at::empty({group * block, head_dim}, at::kFloat);  // [query head of the group, row]
      for (int64_t g = 0; g < group; ++g) {
        for (int64_t r = 0; r < block; ++r) {
          const float* source =
              queries.data_ptr<float>() + (rows[begin + r] * in.q_heads + head * group + g) * head_dim;
          std::copy_n(source, head_dim, q.data_ptr<float>() + (g * block + r) * head_dim);
        }
      }
      at::Tensor logits = ops::linear(q, keys, {}, ops::NumericMode::kExact);  // [group * block, n]
      float* values = logits.data_ptr<float>();
      const float scale = static_cast<float>(in.scale);
      for (int64_t i = 0; i < logits.numel(); ++i) values[i] *= scale;
      for (int64_t g = 1; vote == GroupVote::kMaxLogits && g < group; ++g) {
        const float* other = values + g * block * n;
        for (int64_t i = 0; i < block * n; ++i) values[i] = std::max(values[i], other[i]);
      }
      float* target = sums.data_ptr<float>() + head * per_head * n;
      const int64_t grain = std::max<int64_t>(1, kWorkPerThread / (block * n));
      ops::parallel_for(0, per_head, grain, [&](int64_t from, int64_t to) {  // each head's rows in their order
        for (int64_t g = from; g < to; ++g) {
          for (int64_t r = 0; r < block; ++r) add_softmax(values + (g * block + r) * n, n, target + g * n);
        }
      });
    }
  }
  return sums;
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

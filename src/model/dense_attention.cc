#include "model/dense_attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>

#include <limits>

#include "base/result.h"

namespace throughline {

DenseAttention::DenseAttention(std::vector<int64_t> row_begin, const std::vector<int64_t>& positions,
                               const ops::RopeFrequencies& frequencies, double scale)
    : row_begin_(std::move(row_begin)), angles_(ops::rope_angles(frequencies, positions, at::kCPU)), scale_(scale) {
  TL_CHECK(row_begin_.size() >= 2 && row_begin_.back() == static_cast<int64_t>(positions.size()),
           "row_begin must end at the number of rows");
}

at::Tensor DenseAttention::attend(int /*layer*/, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const int64_t groups = q.size(1) / k.size(1);
  // [heads, rows, head_dim] in fp32; K and V repeated for the query heads of their group.
  const at::Tensor queries = ops::rope(q, angles_).to(at::kFloat).transpose(0, 1);
  const at::Tensor keys = ops::rope(k, angles_).to(at::kFloat).transpose(0, 1).repeat_interleave(groups, 0);
  const at::Tensor values = v.to(at::kFloat).transpose(0, 1).repeat_interleave(groups, 0);
  std::vector<at::Tensor> outputs;
  for (size_t s = 0; s + 1 < row_begin_.size(); ++s) {
    const int64_t begin = row_begin_[s], n = row_begin_[s + 1] - begin;
    if (n == 0) continue;
    const at::Tensor later = at::ones({n, n}, at::kBool).triu(1);
    const at::Tensor scores =
        at::matmul(queries.narrow(1, begin, n), keys.narrow(1, begin, n).transpose(1, 2)).mul(scale_);
    const at::Tensor weights = at::softmax(scores.masked_fill(later, -std::numeric_limits<float>::infinity()), -1);
    outputs.push_back(at::matmul(weights, values.narrow(1, begin, n)));
  }
  return at::cat(outputs, 1).transpose(0, 1).contiguous().to(q.scalar_type());
}

}  // namespace throughline

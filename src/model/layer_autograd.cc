#include "model/layer_autograd.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "ops/autograd.h"
#include "ops/linear.h"
#include "ops/matmul.h"
#include "ops/rows.h"

namespace throughline {
namespace {

using ops::NodeSlopes;
using ops::NumericMode;
using ops::Tensors;

// The tensors below one another: a view when they lie so in memory, else a copy. Undefined when the first is.
at::Tensor joined(const std::vector<at::Tensor>& parts) {
  if (!parts.front().defined()) return {};
  int64_t rows = 0, next = parts.front().storage_offset();
  bool adjacent = true;
  for (const at::Tensor& part : parts) {
    adjacent = adjacent && part.is_contiguous() && part.storage().is_alias_of(parts.front().storage()) &&
               part.storage_offset() == next;
    next += part.numel();
    rows += part.size(0);
  }
  if (!adjacent) return at::cat(parts, 0);
  std::vector<int64_t> shape = parts.front().sizes().vec();
  shape[0] = rows;
  return parts.front().detach().as_strided(shape, parts.front().strides(), parts.front().storage_offset());
}

// x W^T + bias without a graph.
at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, NumericMode mode) {
  if (mode == NumericMode::kExact || x.scalar_type() != at::kFloat) return ops::linear(x, weight, bias, mode);
  at::Tensor y = ops::matmul_nt(x, weight);
  if (bias.defined()) y.add_(bias);
  return y;
}

// residual + (x W^T + bias).
at::Tensor project_onto(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
                        const at::Tensor& bias, NumericMode mode) {
  if (mode == NumericMode::kExact || x.scalar_type() != at::kFloat) {
    return residual.add(ops::linear(x, weight, bias, mode));
  }
  at::Tensor y = ops::matmul_nt(x, weight, residual);
  if (bias.defined()) y.add_(bias);
  return y;
}

// Slopes of one product's weights and biases, which are inputs by these numbers, into their places in out.
void weight_slopes(const at::Tensor& g, const at::Tensor& x, const std::vector<int64_t>& weights,
                   const std::vector<int64_t>& biases, const NodeSlopes& node, Tensors& out) {
  bool any_weight = false, any_bias = false;
  for (const int64_t i : weights) any_weight = any_weight || node.wanted(i);
  for (const int64_t i : biases) any_bias = any_bias || (node.saved[i].defined() && node.wanted(i));
  const at::Tensor slope = any_weight ? ops::matmul_tn(g, x) : at::Tensor();
  const at::Tensor bias_slope = any_bias ? g.sum(0) : at::Tensor();
  int64_t row = 0;
  for (size_t p = 0; p < weights.size(); ++p) {
    const int64_t rows = node.saved[weights[p]].size(0);
    if (any_weight) out[weights[p]] = slope.narrow(0, row, rows);
    if (any_bias) out[biases[p]] = bias_slope.narrow(0, row, rows);
    row += rows;
  }
}

// What attention_inputs() and layer_output() are given, by number; undefined where the family has none.
namespace projections {
enum Input { kX, kNorm, kQ, kK, kV, kQBias, kKBias, kVBias, kQNorm, kKNorm, kInputs };

Tensors forward(const Tensors& inputs, int64_t head_dim, double eps, NumericMode mode, Tensors& saved) {
  const at::Tensor x = inputs[kX].contiguous();
  const int64_t rows = x.size(0), q_width = inputs[kQ].size(0), k_width = inputs[kK].size(0);
  const at::Tensor h = ops::rms_norm(x, inputs[kNorm], eps);
  const at::Tensor qkv = project(h, joined({inputs[kQ], inputs[kK], inputs[kV]}),
                                 joined({inputs[kQBias], inputs[kKBias], inputs[kVBias]}), mode);
  const auto heads = [&](int64_t from, int64_t width) {
    return qkv.narrow(1, from, width).view({rows, width / head_dim, head_dim}).contiguous();
  };
  at::Tensor q = heads(0, q_width), k = heads(q_width, k_width), v = heads(q_width + k_width, k_width);
  const bool normed = inputs[kQNorm].defined();
  saved = inputs;
  saved[kX] = x;
  saved.push_back(normed ? qkv : at::Tensor());
  if (normed) {
    q = ops::rms_norm(q, inputs[kQNorm], eps);
    k = ops::rms_norm(k, inputs[kKNorm], eps);
  }
  return {q, k, v};
}

Tensors backward(const NodeSlopes& node, double eps) {
  const Tensors& saved = node.saved;
  const at::Tensor &x = saved[kX], &qkv = saved[kInputs];
  const int64_t rows = x.size(0), widths[] = {saved[kQ].size(0), saved[kK].size(0), saved[kV].size(0)};
  Tensors out(kInputs);
  at::Tensor slopes = at::empty({rows, widths[0] + widths[1] + widths[2]}, x.options());
  int64_t from = 0;
  for (int p = 0; p < 3; ++p) {
    at::Tensor part = slopes.narrow(1, from, widths[p]);
    const int64_t norm = p == 0 ? kQNorm : kKNorm;
    if (!node.grads[p].defined()) {
      part.zero_();
    } else if (p < 2 && saved[norm].defined()) {
      const int64_t dim = saved[norm].numel();
      const std::vector<int64_t> shape{rows, widths[p] / dim, dim};
      at::Tensor part_heads = part.view(shape), dweight;
      ops::rms_norm_slope(qkv.narrow(1, from, widths[p]).view(shape), saved[norm],
                          node.grads[p].contiguous().view(shape), eps, at::Tensor(), part_heads,
                          node.wanted(norm) ? &dweight : nullptr);
      if (dweight.defined()) out[norm] = dweight.to(saved[norm].scalar_type());
    } else {
      part.copy_(node.grads[p].reshape({rows, widths[p]}));
    }
    from += widths[p];
  }
  const at::Tensor h = ops::rms_norm(x, saved[kNorm], eps);
  weight_slopes(slopes, h, {kQ, kK, kV}, {kQBias, kKBias, kVBias}, node, out);
  const at::Tensor dh = ops::matmul_nn(slopes, joined({saved[kQ], saved[kK], saved[kV]}));
  at::Tensor dx = at::empty_like(x), dnorm;
  ops::rms_norm_slope(x, saved[kNorm], dh, eps, at::Tensor(), dx, node.wanted(kNorm) ? &dnorm : nullptr);
  out[kX] = dx;
  if (dnorm.defined()) out[kNorm] = dnorm.to(saved[kNorm].scalar_type());
  return out;
}

}  // namespace projections

namespace output {
enum Input { kX, kAttended, kO, kOBias, kNorm, kGate, kUp, kDown, kGateBias, kUpBias, kDownBias, kInputs };

Tensors forward(const Tensors& inputs, double eps, NumericMode mode, Tensors& saved) {
  const at::Tensor attended = inputs[kAttended].contiguous();
  const at::Tensor middle = project_onto(inputs[kX].contiguous(), attended, inputs[kO], inputs[kOBias], mode);
  const at::Tensor gate_up = project(ops::rms_norm(middle, inputs[kNorm], eps), joined({inputs[kGate], inputs[kUp]}),
                                     joined({inputs[kGateBias], inputs[kUpBias]}), mode);
  at::Tensor y = project_onto(middle, ops::silu_mul_joined(gate_up), inputs[kDown], inputs[kDownBias], mode);
  saved = inputs;
  saved[kX] = at::Tensor();
  saved[kAttended] = attended;
  saved.push_back(middle);
  saved.push_back(gate_up);
  return {y};
}

Tensors backward(const NodeSlopes& node, double eps) {
  const Tensors& saved = node.saved;
  const at::Tensor dy = node.grads[0].contiguous(), &middle = saved[kInputs];
  Tensors out(kInputs);

  // Overwritten where it lies: a second backward pass over this graph is an error that the version counter tells.
  at::Tensor gate_up = saved[kInputs + 1], gated = ops::matmul_nn(dy, saved[kDown]);
  gate_up.unsafeGetTensorImpl()->bump_version();
  ops::silu_mul_joined_slope(gate_up, gated);  // now: slopes of gate | up, and silu(gate) * up
  weight_slopes(dy, gated, {kDown}, {kDownBias}, node, out);
  gated.reset();
  const at::Tensor h = ops::rms_norm(middle, saved[kNorm], eps);
  weight_slopes(gate_up, h, {kGate, kUp}, {kGateBias, kUpBias}, node, out);
  const at::Tensor dh = ops::matmul_nn(gate_up, joined({saved[kGate], saved[kUp]}));
  gate_up.reset();
  at::Tensor dmiddle = at::empty_like(middle), dnorm;
  ops::rms_norm_slope(middle, saved[kNorm], dh, eps, dy, dmiddle, node.wanted(kNorm) ? &dnorm : nullptr);
  if (dnorm.defined()) out[kNorm] = dnorm.to(saved[kNorm].scalar_type());

  weight_slopes(dmiddle, saved[kAttended], {kO}, {kOBias}, node, out);
  out[kX] = dmiddle;
  if (node.wanted(kAttended)) out[kAttended] = ops::matmul_nn(dmiddle, saved[kO]);
  return out;
}

}  // namespace output

}  // namespace

LayerProjections attention_inputs(const at::Tensor& x, const DecoderLayer& layer, const ModelConfig& config,
                                  NumericMode mode) {
  const Tensors inputs{x,
                       layer.input_norm,
                       layer.q_weight,
                       layer.k_weight,
                       layer.v_weight,
                       layer.q_bias,
                       layer.k_bias,
                       layer.v_bias,
                       layer.q_norm,
                       layer.k_norm};
  const auto forward = [&](Tensors& saved) {
    return projections::forward(inputs, config.head_dim, config.norm_eps, mode, saved);
  };
  const auto backward = [eps = config.norm_eps](const NodeSlopes& node) { return projections::backward(node, eps); };
  const Tensors out = ops::differentiable(inputs, forward, backward);
  return {out[0], out[1], out[2]};
}

at::Tensor layer_output(const at::Tensor& x, const at::Tensor& attended, const DecoderLayer& layer,
                        const ModelConfig& config, NumericMode mode) {
  const Tensors inputs{x,
                       attended,
                       layer.o_weight,
                       layer.o_bias,
                       layer.post_attention_norm,
                       layer.gate_weight,
                       layer.up_weight,
                       layer.down_weight,
                       layer.gate_bias,
                       layer.up_bias,
                       layer.down_bias};
  const auto forward = [&](Tensors& saved) { return output::forward(inputs, config.norm_eps, mode, saved); };
  const auto backward = [eps = config.norm_eps](const NodeSlopes& node) { return output::backward(node, eps); };
  return ops::differentiable(inputs, forward, backward).front();
}

}  // namespace throughline

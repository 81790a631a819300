// The two halves of a decoder layer around attention, each one node of the autograd graph with its slopes written by
// hand.
//
// What autograd would keep for a dozen small operators is kept once or computed again: the first half keeps its input
// and the unnormed q and k, the second its two inputs, the sum after attention and gate | up. Values equal those of the
// separate operators bit for bit under kExact; under kFast the matrix products of fp32 are ops/matmul.h's. Weights that
// lie one behind the other (Decoder::make_trainable()) go through one product. fp32 or bf16, CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/decoder.h"
#include "ops/numeric.h"

namespace throughline {

struct LayerProjections {
  at::Tensor q, k, v;  // [rows, heads, head_dim], normed where the family does so, not rotated
};
// x [rows, hidden] -> norm, projections, QK-norm.
LayerProjections attention_inputs(const at::Tensor& x, const DecoderLayer& layer, const ModelConfig& config,
                                  ops::NumericMode mode);
// x [rows, hidden] and what attention gave [rows, q_heads * head_dim] -> the layer's output [rows, hidden].
at::Tensor layer_output(const at::Tensor& x, const at::Tensor& attended, const DecoderLayer& layer,
                        const ModelConfig& config, ops::NumericMode mode);

}  // namespace throughline

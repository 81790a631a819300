// What the differentiable ops share, here and in the rooms above: a node with slopes of its own, and small helpers.
//
// Torch's header of such nodes costs a compiler nine seconds a file; only autograd.cc includes it.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/result.h"

namespace throughline::ops {

inline bool needs_grad(std::initializer_list<const at::Tensor*> tensors) {
  if (!at::GradMode::is_enabled()) return false;
  for (const at::Tensor* t : tensors) {
    if (t->defined() && t->requires_grad()) return true;
  }
  return false;
}

using Tensors = std::vector<at::Tensor>;

// What a node's backward pass is given. Saved tensors are checked for changes in place and freed with the graph.
struct NodeSlopes {
  const Tensors& saved;                       // as forward left them
  const Tensors& grads;                       // of the outputs; undefined where the loss does not depend on one
  std::function<bool(int64_t input)> wanted;  // whether the graph asks for the gradient of an input
};

// forward(saved) computes the outputs without a graph and puts what backward needs into `saved` (inputs and outputs
// too: in a closure they would keep the graph alive); backward gives one gradient an input, undefined where there is
// none. Inputs may be undefined. Outputs named by `constant` (their numbers) take no gradient.
Tensors differentiable(const Tensors& inputs, const std::function<Tensors(Tensors& saved)>& forward,
                       std::function<Tensors(const NodeSlopes&)> backward,
                       std::initializer_list<int64_t> constant = {});

// The kernels' two element types, by pointer. REQUIRES: contiguous; kFloat or kBFloat16.
inline const float* f32(const at::Tensor& t) { return t.const_data_ptr<float>(); }
inline float* f32_out(const at::Tensor& t) { return t.mutable_data_ptr<float>(); }
inline const uint16_t* bf16(const at::Tensor& t) { return static_cast<const uint16_t*>(t.const_data_ptr()); }
inline uint16_t* bf16_out(const at::Tensor& t) { return static_cast<uint16_t*>(t.mutable_data_ptr()); }

inline void check_element_type(const at::Tensor& t, const char* op) {
  TL_CHECK(t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16,
           std::string(op) + ": dtype must be fp32 or bf16");
}

}  // namespace throughline::ops

// Small helpers shared by the differentiable ops. Not for other rooms.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/result.h"

namespace throughline::ops {

inline bool needs_grad(std::initializer_list<const at::Tensor*> tensors) {
  if (!at::GradMode::is_enabled()) return false;
  for (const at::Tensor* t : tensors) {
    if (t->defined() && t->requires_grad()) return true;
  }
  return false;
}

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

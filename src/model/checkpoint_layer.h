// Activation checkpointing: a piece of the forward pass that keeps only its input and runs again in the backward pass
// (Chen et al. 2016, arXiv 1604.06174).
//
// f must give the same output for the same input, and whatever it refers to must live until the backward pass has
// ended. Gradients of the leaves that f uses are accumulated inside; the input's gradient is returned to the graph.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace throughline {

// x must require grad when f uses leaves that do (an embedding's output does).
at::Tensor checkpointed(const at::Tensor& x, std::function<at::Tensor(const at::Tensor&)> f);

}  // namespace throughline

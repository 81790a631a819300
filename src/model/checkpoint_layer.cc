#include "model/checkpoint_layer.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "base/result.h"
#include "ops/autograd.h"

namespace throughline {

at::Tensor checkpointed(const at::Tensor& x, std::function<at::Tensor(const at::Tensor&)> f) {
  TL_CHECK(x.requires_grad(), "checkpointed: the input must require grad");
  const auto forward = [&](ops::Tensors& saved) -> ops::Tensors {
    saved = {x};
    return {f(x)};
  };
  const auto backward = [f](const ops::NodeSlopes& node) -> ops::Tensors {
    const at::Tensor x = node.saved[0].detach().requires_grad_(true);
    at::Tensor y;
    {
      const at::AutoGradMode on(true);
      y = f(x);
    }
    torch::autograd::backward({y}, {node.grads[0]});
    return {x.grad()};
  };
  return ops::differentiable({x}, forward, backward).front();
}

}  // namespace throughline

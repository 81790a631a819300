#include "model/checkpoint_layer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/result.h"

namespace throughline {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Body : torch::CustomClassHolder {
  explicit Body(std::function<at::Tensor(const at::Tensor&)> body) : f(std::move(body)) {}
  std::function<at::Tensor(const at::Tensor&)> f;
};

struct Checkpointed : torch::autograd::Function<Checkpointed> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const c10::intrusive_ptr<Body>& body) {
    context->save_for_backward({x});
    context->saved_data["body"] = c10::IValue::make_capsule(body);
    const at::NoGradGuard guard;
    return body->f(x);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto body = c10::static_intrusive_pointer_cast<Body>(context->saved_data["body"].toCapsule());
    const at::Tensor x = context->get_saved_variables()[0].detach().requires_grad_(true);
    at::Tensor y;
    {
      const at::AutoGradMode on(true);
      y = body->f(x);
    }
    torch::autograd::backward({y}, {grads[0]});
    return {x.grad(), at::Tensor()};
  }
};

}  // namespace

at::Tensor checkpointed(const at::Tensor& x, std::function<at::Tensor(const at::Tensor&)> f) {
  TL_CHECK(x.requires_grad(), "checkpointed: the input must require grad");
  return Checkpointed::apply(x, c10::make_intrusive<Body>(std::move(f)));
}

}  // namespace throughline

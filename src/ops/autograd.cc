#include "ops/autograd.h"

#include <ATen/core/ivalue.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace throughline::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Body : torch::CustomClassHolder {
  const std::function<Tensors(Tensors&)>* forward = nullptr;  // of the call that makes the node
  std::initializer_list<int64_t> constant;                    // of that call, too
  std::function<Tensors(const NodeSlopes&)> backward;
};

struct Node : torch::autograd::Function<Node> {
  static variable_list forward(AutogradContext* context, const at::TensorList& /*inputs*/,
                               const c10::intrusive_ptr<Body>& body) {
    const at::NoGradGuard guard;
    Tensors saved;
    Tensors out = (*body->forward)(saved);
    context->save_for_backward(std::move(saved));
    variable_list constant;
    for (const int64_t i : body->constant) constant.push_back(out[i]);
    context->mark_non_differentiable(constant);
    context->saved_data["body"] = c10::IValue::make_capsule(body);
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const at::NoGradGuard guard;
    const auto body = c10::static_intrusive_pointer_cast<Body>(context->saved_data["body"].toCapsule());
    const variable_list saved = context->get_saved_variables();
    variable_list out =
        body->backward({saved, grads, [&](int64_t i) { return context->needs_input_grad(static_cast<size_t>(i)); }});
    out.emplace_back();  // the body's
    return out;
  }
};

}  // namespace

Tensors differentiable(const Tensors& inputs, const std::function<Tensors(Tensors&)>& forward,
                       std::function<Tensors(const NodeSlopes&)> backward, std::initializer_list<int64_t> constant) {
  Tensors filled = inputs;  // a node's inputs must be defined
  for (at::Tensor& t : filled) t = t.defined() ? t : at::empty({0});
  auto body = c10::make_intrusive<Body>();
  body->forward = &forward;
  body->constant = constant;
  body->backward = std::move(backward);
  return Node::apply(at::TensorList(filled), body);
}

}  // namespace throughline::ops

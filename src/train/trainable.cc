#include "train/trainable.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace throughline {
namespace {

// Moves a weight's gradient into its part of the flat fp32 vector.
struct SumIntoFlat : torch::autograd::PostAccumulateGradHook {
  explicit SumIntoFlat(at::Tensor target) : sum(std::move(target)) {}
  void operator()(const at::Tensor& weight) override {
    const at::NoGradGuard guard;
    sum.add_(weight.grad());
    weight.mutable_grad().reset();
  }
  at::Tensor sum;  // shape of the weight
};

bool is_matrix(const at::Tensor& weight) { return weight.dim() >= 2; }

}  // namespace

void Trainable::zero_gradients() { gradients().zero_(); }

FullTrainable::FullTrainable(Decoder* decoder) {
  decoder->make_trainable();
  values_ = decoder->flat_weights();
  gradients_ = at::zeros({values_.numel()}, values_.options().dtype(at::kFloat));
  int64_t from = 0;
  for (const auto& [name, weight] : decoder->parameters()) {
    const at::Tensor target = gradients_.narrow(0, from, weight.numel()).view(weight.sizes());
    torch::autograd::impl::set_post_acc_grad_hooks(weight, std::make_unique<SumIntoFlat>(target));
    leaves_.push_back(weight);
    parts_.push_back({name, weight.sizes().vec(), from, from + weight.numel(), is_matrix(weight)});
    from += weight.numel();
  }
}

FullTrainable::~FullTrainable() {
  for (const at::Tensor& leaf : leaves_) torch::autograd::impl::set_post_acc_grad_hooks(leaf, nullptr);
}

}  // namespace throughline

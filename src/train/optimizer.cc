#include "train/optimizer.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

namespace throughline {

std::vector<double> block_square_sums(const at::Tensor& numbers) {
  constexpr int64_t kBlock = Trainable::kShardAlign;
  constexpr int kLanes = 16;  // independent sums, so that the loop vectorises; their order is fixed
  const int64_t n = numbers.numel();
  const auto* g = numbers.const_data_ptr<float>();
  std::vector<double> sums(static_cast<size_t>((n + kBlock - 1) / kBlock));
  at::parallel_for(0, static_cast<int64_t>(sums.size()), 4, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t end = std::min(n, (block + 1) * kBlock);
      double lane[kLanes] = {};
      int64_t i = block * kBlock;
      for (; i + kLanes <= end; i += kLanes) {
        for (int l = 0; l < kLanes; ++l) lane[l] += static_cast<double>(g[i + l]) * static_cast<double>(g[i + l]);
      }
      double sum = 0;
      for (const double part : lane) sum += part;
      for (; i < end; ++i) sum += static_cast<double>(g[i]) * static_cast<double>(g[i]);
      sums[static_cast<size_t>(block)] = sum;
    }
  });
  return sums;
}

double norm_of_blocks(const std::vector<double>& blocks) {
  double sum = 0;
  for (const double block : blocks) sum += block;
  return std::sqrt(sum);
}

Optimizer::Optimizer(Trainable* trainable, const AdamWOptions& options, int64_t begin, int64_t end)
    : trainable_(trainable), options_(options), begin_(begin), end_(end < 0 ? trainable->size() : end) {
  const int64_t size = trainable->size();
  const auto is_edge = [&](int64_t at) { return at == size || at % Trainable::kShardAlign == 0; };
  TL_CHECK(begin_ >= 0 && begin_ <= end_ && end_ <= size && is_edge(begin_) && is_edge(end_), "optimizer: bad range");
  for (const FlatPart& part : trainable->parts()) {
    const int64_t from = std::max(part.begin, begin_) - begin_, to = std::min(part.end, end_) - begin_;
    if (from >= to) continue;
    if (!spans_.empty() && spans_.back().to == from && spans_.back().decays == part.decays) {
      spans_.back().to = to;
    } else {
      spans_.push_back({from, to, part.decays});
    }
  }
  const auto fp32 = at::TensorOptions().dtype(at::kFloat);
  first_ = at::zeros({end_ - begin_}, fp32);
  second_ = at::zeros({end_ - begin_}, fp32);
  reset_masters();
}

void Optimizer::reset_masters() {
  const at::NoGradGuard guard;
  const at::Tensor own = trainable_->values().narrow(0, begin_, end_ - begin_);
  master_ = own.scalar_type() == at::kFloat ? own : own.to(at::kFloat);
}

double Optimizer::clip_scale(double norm) const {
  if (options_.max_grad_norm <= 0 || norm <= options_.max_grad_norm) return 1;
  return options_.max_grad_norm / norm;
}

void Optimizer::step(double learning_rate, double gradient_scale) {
  const at::NoGradGuard guard;
  const at::Tensor own_gradients = trainable_->gradients().narrow(0, begin_, end_ - begin_);
  if (gradient_scale != 1) own_gradients.mul_(gradient_scale);
  ++steps_;
  for (const bool decays : {true, false}) {
    const double decay = decays ? options_.weight_decay : 0;
    std::vector<at::Tensor> values, gradients, firsts, seconds, steps;
    for (const Span& span : spans_) {
      if (span.decays != decays || span.to == span.from) continue;
      const auto part = [&](const at::Tensor& t) { return t.narrow(0, span.from, span.to - span.from); };
      values.push_back(part(master_));
      gradients.push_back(part(own_gradients));
      firsts.push_back(part(first_));
      seconds.push_back(part(second_));
      steps.push_back(at::scalar_tensor(static_cast<double>(steps_), at::TensorOptions().dtype(at::kFloat)));
    }
    if (values.empty()) continue;
    at::_fused_adamw_(values, gradients, firsts, seconds, {}, steps, learning_rate, options_.beta1, options_.beta2,
                      decay, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
  }
  const at::Tensor own = trainable_->values().narrow(0, begin_, end_ - begin_);
  if (own.scalar_type() != at::kFloat) own.copy_(master_);
}

bool Optimizer::values_finite() const { return std::isfinite(norm_of_blocks(block_square_sums(master_))); }

int64_t Optimizer::state_bytes() const {
  const int64_t masters = trainable_->values().scalar_type() == at::kFloat ? 0 : 1;
  return (2 + masters) * 4 * (end_ - begin_);
}

std::vector<std::pair<std::string, at::Tensor>> Optimizer::state() const {
  std::vector<std::pair<std::string, at::Tensor>> out;
  out.emplace_back("step", at::scalar_tensor(steps_, at::TensorOptions().dtype(at::kLong)));
  out.emplace_back("exp_avg", first_);
  out.emplace_back("exp_avg_sq", second_);
  if (trainable_->values().scalar_type() != at::kFloat) out.emplace_back("master", master_);
  return out;
}

Status Optimizer::restore(const std::vector<std::pair<std::string, at::Tensor>>& state, const std::string& where) {
  const at::NoGradGuard guard;
  const auto own = this->state();
  std::vector<const at::Tensor*> sources;
  for (const auto& [name, target] : own) {
    const auto found =
        std::find_if(state.begin(), state.end(), [&name = name](const auto& entry) { return entry.first == name; });
    const char* remedy = "the optimizer's state is of another model or another dtype";
    if (found == state.end()) return Error{"is missing", where + ": \"" + name + "\"", remedy};
    if (found->second.numel() != target.numel() || found->second.scalar_type() != target.scalar_type()) {
      return Error{"has another size or dtype", where + ": \"" + name + "\"", remedy};
    }
    sources.push_back(&found->second);
  }
  steps_ = sources[0]->item<int64_t>();
  for (size_t i = 1; i < own.size(); ++i) own[i].second.copy_(sources[i]->view(own[i].second.sizes()));
  return {};
}

}  // namespace throughline

#include "train/lora.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/files.h"
#include "base/json.h"
#include "base/rng.h"
#include "model/safetensors.h"

namespace throughline {
namespace {

const std::string kPeftPrefix = "base_model.model.";
const std::string kWeightSuffix = ".weight";

// "model.layers.0.self_attn.q_proj.weight" -> "q_proj"; empty for anything that is no ".weight".
std::string module_of(const std::string& name) {
  if (!name.ends_with(kWeightSuffix)) return {};
  const std::string path = name.substr(0, name.size() - kWeightSuffix.size());
  return path.substr(path.rfind('.') + 1);
}

std::string peft_name(const std::string& name, const char* matrix) {
  return kPeftPrefix + name.substr(0, name.size() - kWeightSuffix.size()) + ".lora_" + matrix + kWeightSuffix;
}

Status check_options(const LoraOptions& options, const Decoder& decoder, const std::string& where) {
  if (options.rank < 1 || options.rank > decoder.config().hidden) {
    return Error{fmt::format("rank {} is out of range", options.rank), where + ": rank",
                 fmt::format("use 1 to {} (the hidden size)", decoder.config().hidden)};
  }
  if (!(options.alpha > 0) || !std::isfinite(options.alpha)) {
    return Error{fmt::format("alpha {} is out of range", options.alpha), where + ": alpha", "use a number over 0"};
  }
  for (const std::string& target : options.targets) {
    const auto parameters = decoder.parameters();
    const bool known = std::any_of(parameters.begin(), parameters.end(), [&](const auto& entry) {
      return entry.second.dim() == 2 && module_of(entry.first) == target &&
             entry.first.find(".layers.") != std::string::npos;
    });
    if (!known) {
      return Error{"\"" + target + "\" is no module of this model", where + ": targets",
                   "use some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"};
    }
  }
  if (options.targets.empty()) return Error{"is empty", where + ": targets", "name at least one module"};
  return {};
}

}  // namespace

struct LoraTrainable::Project : torch::autograd::PostAccumulateGradHook {
  Project(const Pair& pair, double scale) : a(pair.a), b(pair.b), grad_a(pair.grad_a), grad_b(pair.grad_b), s(scale) {}
  void operator()(const at::Tensor& weight) override {
    const at::NoGradGuard guard;
    const at::Tensor gradient = weight.grad().to(at::kFloat);
    weight.mutable_grad().reset();
    grad_b.addmm_(gradient, a.t(), 1, s);
    grad_a.addmm_(b.t(), gradient, 1, s);
  }
  at::Tensor a, b, grad_a, grad_b;
  double s;
};

Result<std::unique_ptr<LoraTrainable>> LoraTrainable::create(Decoder* decoder, const LoraOptions& options,
                                                             const std::string& where) {
  TL_TRY_STATUS(check_options(options, *decoder, where));
  const at::NoGradGuard guard;
  auto out = std::unique_ptr<LoraTrainable>(new LoraTrainable());
  out->options_ = options;
  out->scale_ = options.alpha / static_cast<double>(options.rank);
  const bool was_mapped = !decoder->flat_weights().defined();
  const auto originals = decoder->parameters();
  decoder->make_trainable();
  const auto leaves = decoder->parameters();
  int64_t size = 0;
  for (size_t i = 0; i < leaves.size(); ++i) {
    const auto& [name, weight] = leaves[i];
    const bool is_target = weight.dim() == 2 && name.find(".layers.") != std::string::npos &&
                           std::count(options.targets.begin(), options.targets.end(), module_of(name)) > 0;
    at::Tensor leaf = weight;
    leaf.requires_grad_(is_target);
    if (!is_target) continue;
    out->pairs_.push_back({leaf, was_mapped ? originals[i].second : weight.detach().clone(), {}, {}, {}, {}});
    for (const auto& [matrix, rows, columns] :
         {std::tuple("A", options.rank, weight.size(1)), std::tuple("B", weight.size(0), options.rank)}) {
      out->parts_.push_back({peft_name(name, matrix), {rows, columns}, size, size + rows * columns, true});
      size += rows * columns;
    }
  }
  out->values_ = at::zeros({size}, at::kFloat);
  out->gradients_ = at::zeros({size}, at::kFloat);
  for (size_t i = 0; i < out->pairs_.size(); ++i) {
    Pair& pair = out->pairs_[i];
    const auto view = [&](const at::Tensor& flat, const FlatPart& part) {
      return flat.narrow(0, part.begin, part.end - part.begin).view(part.shape);
    };
    const FlatPart &a = out->parts_[2 * i], &b = out->parts_[2 * i + 1];
    pair.a = view(out->values_, a);
    pair.b = view(out->values_, b);
    pair.grad_a = view(out->gradients_, a);
    pair.grad_b = view(out->gradients_, b);
    const double bound = 1 / std::sqrt(static_cast<double>(a.shape[1]));
    auto* start = pair.a.mutable_data_ptr<float>();
    for (int64_t e = 0; e < pair.a.numel(); ++e) {
      const RngKey key{options.seed, i, static_cast<uint64_t>(e), RngPurpose::kSynth};
      start[e] = static_cast<float>((2 * random_uniform(key) - 1) * bound);
    }
    torch::autograd::impl::set_post_acc_grad_hooks(pair.weight, std::make_unique<Project>(pair, out->scale_));
  }
  return out;
}

LoraTrainable::~LoraTrainable() {
  for (const Pair& pair : pairs_) torch::autograd::impl::set_post_acc_grad_hooks(pair.weight, nullptr);
}

void LoraTrainable::merge(const Pair& pair) const {
  at::Tensor merged = pair.original.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  merged.addmm_(pair.b, pair.a, 1, scale_);
  pair.weight.detach().copy_(merged);
}

void LoraTrainable::published() {
  const at::NoGradGuard guard;
  for (const Pair& pair : pairs_) merge(pair);
}

Status LoraTrainable::save_adapter(const std::string& folder, const std::string& base_model) const {
  TL_TRY_STATUS(make_directories(folder));
  std::vector<TensorBytes> tensors;
  const auto* values = values_.const_data_ptr<float>();
  for (const FlatPart& part : parts_) {
    const auto bytes = std::as_bytes(std::span(values + part.begin, values + part.end));
    tensors.push_back({part.name, TensorDtype::kF32, part.shape, bytes});
  }
  TL_TRY_STATUS(write_safetensors(join_path(folder, "adapter_model.safetensors"), tensors));
  const Json config = {{"peft_type", "LORA"},
                       {"task_type", "CAUSAL_LM"},
                       {"base_model_name_or_path", base_model},
                       {"r", options_.rank},
                       {"lora_alpha", options_.alpha},
                       {"lora_dropout", 0.0},
                       {"target_modules", options_.targets},
                       {"bias", "none"},
                       {"fan_in_fan_out", false},
                       {"inference_mode", true},
                       {"init_lora_weights", true}};
  return write_atomically(join_path(folder, "adapter_config.json"), config.dump(2) + "\n");
}

Status LoraTrainable::load_adapter(const std::string& folder) {
  const at::NoGradGuard guard;
  const std::string path = join_path(folder, "adapter_model.safetensors");
  TL_TRY(const Checkpoint file, Checkpoint::open_file(path));
  const char* remedy = "the adapter is of another model, rank or set of targets";
  std::vector<const TensorView*> sources;
  for (const FlatPart& part : parts_) {
    const std::string where = path + ": tensor \"" + part.name + "\"";
    const TensorView* view = file.find(part.name);
    if (view == nullptr) return Error{"is missing", where, remedy};
    if (view->info.shape != part.shape) return Error{"has another shape", where, remedy};
    if (view->info.dtype != TensorDtype::kF32) return Error{"is not F32", where, "adapters are read in fp32"};
    sources.push_back(view);
  }
  if (file.tensors().size() != parts_.size()) return Error{"has more tensors than A and B", path, remedy};
  auto* values = values_.mutable_data_ptr<float>();
  for (size_t i = 0; i < parts_.size(); ++i) {
    std::memcpy(values + parts_[i].begin, sources[i]->data, sources[i]->bytes());  // the map may be unaligned
  }
  published();
  return {};
}

}  // namespace throughline

#include "model/weights.h"

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "model/layer_tensors.h"
#include "ops/huge_pages.h"

namespace throughline {
namespace {

std::optional<at::ScalarType> float_type(TensorDtype dtype) {
  switch (dtype) {
    case TensorDtype::kF32:
      return at::kFloat;
    case TensorDtype::kF16:
      return at::kHalf;
    case TensorDtype::kBF16:
      return at::kBFloat16;
    default:
      return std::nullopt;
  }
}

bool is_aligned(const TensorView& view) {
  return reinterpret_cast<uintptr_t>(view.data) % dtype_bytes(view.info.dtype) == 0;
}

at::Tensor map_tensor(const TensorView& view, at::ScalarType type) {
  auto options = at::TensorOptions().dtype(type);
  auto* data = const_cast<std::byte*>(view.data);  // the map is read-only; so is every user of a weight
  return at::from_blob(
      data, view.info.shape, [file = view.file](void*) mutable { file.reset(); }, options);
}

// Bytes at an odd address cannot be viewed as elements; copy them first.
at::Tensor copy_tensor(const TensorView& view, at::ScalarType type) {
  at::Tensor bytes = at::from_blob(const_cast<std::byte*>(view.data), {static_cast<int64_t>(view.bytes())},
                                   at::TensorOptions().dtype(at::kByte));
  return bytes.clone().view(type).reshape(view.info.shape);
}

}  // namespace

WeightReader::WeightReader(Checkpoint checkpoint, at::ScalarType dtype, at::Device device)
    : checkpoint_(std::move(checkpoint)), dtype_(dtype), device_(device) {}

void WeightReader::fail(const std::string& name, const std::string& what) {
  if (!error_) {
    error_ = Error{what, fmt::format("{}: tensor \"{}\"", checkpoint_.where(), name),
                   "config.json and the weights do not belong together"};
  }
}

const TensorView* WeightReader::find(const std::string& name, const std::vector<int64_t>& shape) {
  const TensorView* view = checkpoint_.find(name);
  if (view == nullptr) {
    fail(name, "is missing");
    return nullptr;
  }
  taken_.insert(name);
  if (view->info.shape != shape) {
    fail(name, fmt::format("has shape [{}], config.json needs [{}]", fmt::join(view->info.shape, ", "),
                           fmt::join(shape, ", ")));
    return nullptr;
  }
  return view;
}

at::Tensor WeightReader::take(const std::string& name, const std::vector<int64_t>& shape) {
  const TensorView* view = find(name, shape);
  if (view == nullptr) return {};
  const auto type = float_type(view->info.dtype);
  if (!type) {
    fail(name, fmt::format("has dtype {}; only F32, F16 and BF16 weights are supported", dtype_name(view->info.dtype)));
    return {};
  }
  if (error_) return {};
  at::Tensor tensor = is_aligned(*view) ? map_tensor(*view, *type) : copy_tensor(*view, *type);
  if (*type != dtype_) tensor = tensor.to(dtype_);
  if (huge_pages_) tensor = ops::copy_to_huge_pages(tensor);
  return device_.is_cpu() ? tensor : tensor.to(device_);
}

at::Tensor WeightReader::take_as(const std::string& name, TensorDtype dtype, const std::vector<int64_t>& shape) {
  const TensorView* view = find(name, shape);
  if (view == nullptr) return {};
  if (view->info.dtype != dtype) {
    fail(name, fmt::format("has dtype {}, this format needs {}", dtype_name(view->info.dtype), dtype_name(dtype)));
    return {};
  }
  if (error_) return {};
  const at::ScalarType type = dtype == TensorDtype::kU8 ? at::kByte : *float_type(dtype);
  at::Tensor tensor = is_aligned(*view) ? map_tensor(*view, type) : copy_tensor(*view, type);
  return huge_pages_ ? ops::copy_to_huge_pages(tensor) : tensor;
}

Status WeightReader::finish() const {
  if (error_) return *error_;
  for (const TensorView& view : checkpoint_.tensors()) {
    if (taken_.count(view.info.name) != 0) continue;
    return Error{"is not part of this model", fmt::format("{}: tensor \"{}\"", view.file->path(), view.info.name),
                 "config.json and the weights do not belong together"};
  }
  return {};
}

at::ScalarType scalar_type_of(const std::string& config_dtype) {
  if (config_dtype == "float16") return at::kHalf;
  if (config_dtype == "bfloat16") return at::kBFloat16;
  TL_CHECK(config_dtype == "float32", "dtype " + config_dtype);
  return at::kFloat;
}

at::ScalarType checkpoint_dtype(const ModelConfig& config, const Checkpoint& checkpoint) {
  if (!config.dtype.empty()) return scalar_type_of(config.dtype);
  const TensorView* embedding = checkpoint.find(kEmbeddingName);
  return embedding == nullptr ? at::kFloat : float_type(embedding->info.dtype).value_or(at::kFloat);
}

Result<at::ScalarType> compute_dtype(const std::string& option, at::ScalarType checkpoint) {
  if (option == "fp32") return at::kFloat;
  if (option == "bf16") return at::kBFloat16;
  if (!option.empty()) return Error{fmt::format("\"{}\" is not supported", option), "--dtype", "use fp32 or bf16"};
  return checkpoint == at::kHalf ? at::kFloat : checkpoint;
}

}  // namespace throughline

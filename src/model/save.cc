#include "model/save.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/files.h"
#include "model/weights.h"

namespace throughline {
namespace {

uint64_t bytes_of(const TensorInfo& tensor) {
  uint64_t bytes = dtype_bytes(tensor.dtype);
  for (const int64_t n : tensor.shape) bytes *= static_cast<uint64_t>(n);
  return bytes;
}

TensorDtype file_dtype(at::ScalarType type) {
  if (type == at::kBFloat16) return TensorDtype::kBF16;
  if (type == at::kHalf) return TensorDtype::kF16;
  if (type == at::kByte) return TensorDtype::kU8;
  TL_CHECK(type == at::kFloat, "weights are fp32, fp16 or bf16");
  return TensorDtype::kF32;
}

const char* config_dtype(TensorDtype dtype) {
  return dtype == TensorDtype::kBF16 ? "bfloat16" : dtype == TensorDtype::kF16 ? "float16" : "float32";
}

}  // namespace

Result<ModelWriter> ModelWriter::create(const std::string& model_dir, const std::vector<TensorInfo>& tensors,
                                        uint64_t max_shard_bytes) {
  for (const char* name : {"config.json", "model.safetensors", "model.safetensors.index.json"}) {
    if (file_exists(join_path(model_dir, name)))
      return Error{fmt::format("already holds a model ({})", name), model_dir, "choose another folder or remove it"};
  }
  TL_TRY_STATUS(make_directories(model_dir));
  ModelWriter writer;
  writer.model_dir_ = model_dir;
  for (const TensorInfo& tensor : tensors) {
    const uint64_t bytes = bytes_of(tensor);
    if (writer.shards_.empty() ||
        (writer.shards_.back().bytes > 0 && writer.shards_.back().bytes + bytes > max_shard_bytes))
      writer.shards_.emplace_back();
    writer.shards_.back().tensors.push_back(tensor);
    writer.shards_.back().bytes += bytes;
    writer.total_bytes_ += bytes;
  }
  std::error_code code;
  const auto space = std::filesystem::space(model_dir, code);
  if (!code && space.available < writer.total_bytes_) {
    return Error{
        fmt::format("needs {} MiB and the disk has {} MiB free", writer.total_bytes_ >> 20, space.available >> 20),
        model_dir, "free some disk space or choose another folder"};
  }
  const size_t count = writer.shards_.size();
  for (size_t i = 0; i < count; ++i) {
    writer.shards_[i].file =
        count == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, count);
  }
  return writer;
}

Status ModelWriter::open_shard() {
  const Shard& shard = shards_[current_];
  TL_TRY(auto file, SafetensorsWriter::create(join_path(model_dir_, shard.file), shard.tensors, {{"format", "pt"}}));
  file_.emplace(std::move(file));
  shard_written_ = 0;
  return {};
}

Status ModelWriter::write(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  TL_CHECK(current_ < shards_.size(), "all tensors are written");
  if (!file_) TL_TRY_STATUS(open_shard());
  TL_TRY_STATUS(file_->write(bytes));
  shard_written_ += bytes.size();
  if (shard_written_ == shards_[current_].bytes) {
    TL_TRY_STATUS(file_->finish());
    file_.reset();
    ++current_;
  }
  return {};
}

Status ModelWriter::finish(const ModelConfig& config) {
  TL_CHECK(current_ == shards_.size(), "tensors are missing");
  if (shards_.size() > 1) {
    std::vector<std::pair<std::string, std::string>> weight_map;
    for (const Shard& shard : shards_) {
      for (const TensorInfo& tensor : shard.tensors) weight_map.emplace_back(tensor.name, shard.file);
    }
    TL_TRY_STATUS(write_shard_index(model_dir_, weight_map, total_bytes_));
  }
  return write_atomically(join_path(model_dir_, "config.json"), config_to_json(config).dump(2) + "\n");
}

Status save_model(const std::string& model_dir, const ModelConfig& config,
                  const std::vector<std::pair<std::string, at::Tensor>>& parameters, const SaveOptions& options) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, tensor] : parameters) {
    const at::ScalarType type = options.dtype.empty() ? tensor.scalar_type() : scalar_type_of(options.dtype);
    infos.push_back(TensorInfo{name, file_dtype(type), tensor.sizes().vec(), 0, 0});
  }
  TL_TRY(auto writer, ModelWriter::create(model_dir, infos, options.max_shard_bytes));
  for (size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor tensor = parameters[i].second.detach().to(at::kCPU);
    if (!options.dtype.empty()) tensor = tensor.to(scalar_type_of(options.dtype));
    tensor = tensor.contiguous();
    TL_TRY_STATUS(writer.write({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}));
  }
  ModelConfig written = config;
  if (!infos.empty() && config.weights.empty()) written.dtype = config_dtype(infos.front().dtype);
  return writer.finish(written);
}

}  // namespace throughline

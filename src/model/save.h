// Writes a model as a Hugging Face directory: config.json and model.safetensors, sharded above a size. Streaming: one
// tensor at a time, in pieces of the caller's choice. Each file appears complete or not at all; config.json comes
// last, so a folder with one is whole. A folder that already holds weights is refused: write beside it and rename.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/decoder.h"
#include "model/layer_tensors.h"
#include "model/safetensors.h"

namespace throughline {

struct SaveOptions {
  std::string dtype;                             // float32, float16, bfloat16; empty: each tensor's own
  uint64_t max_shard_bytes = uint64_t{5} << 30;  // as transformers
};

// The files of one model: planned from the names and shapes, then fed the tensors' bytes in that order.
class ModelWriter {
 public:
  static Result<ModelWriter> create(const std::string& model_dir, const std::vector<TensorInfo>& tensors,
                                    uint64_t max_shard_bytes);
  // The next bytes of the current tensor; bytes of one call must not go past its end.
  Status write(std::span<const std::byte> bytes);
  // After all tensors: closes the last shard, writes the index (if sharded) and config.json.
  Status finish(const ModelConfig& config);
  uint64_t total_bytes() const { return total_bytes_; }
  size_t shards() const { return shards_.size(); }

 private:
  struct Shard {
    std::string file;
    std::vector<TensorInfo> tensors;
    uint64_t bytes = 0;
  };
  ModelWriter() = default;
  Status open_shard();
  std::string model_dir_;
  std::vector<Shard> shards_;
  size_t current_ = 0;
  uint64_t shard_written_ = 0, total_bytes_ = 0;
  std::optional<SafetensorsWriter> file_;
};

Status save_model(const std::string& model_dir, const ModelConfig& config,
                  const std::vector<std::pair<std::string, at::Tensor>>& parameters, const SaveOptions& options = {});

}  // namespace throughline

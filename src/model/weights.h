// Takes a checkpoint's tensors by name into torch, checking name, shape and dtype, and accounts for every one of them.
//
// A tensor whose dtype is the wanted one and whose bytes are aligned for it is used in place: the at::Tensor points
// into the memory map and keeps it alive (read-only: writing to it faults). Anything else is converted into memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "model/safetensors.h"

namespace throughline {

class WeightReader {
 public:
  WeightReader(Checkpoint checkpoint, at::ScalarType dtype, at::Device device);

  // The tensor in the reader's dtype, on its device. A missing one or one of another shape is remembered as the fault.
  at::Tensor take(const std::string& name, const std::vector<int64_t>& shape);
  // A tensor of exactly this dtype (U8, F32 or BF16), not converted.
  at::Tensor take_as(const std::string& name, TensorDtype dtype, const std::vector<int64_t>& shape);
  // From now on tensors are copied there (ops/huge_pages.h) instead of used in place.
  void copy_to_huge_pages() { huge_pages_ = true; }
  // Marks a tensor as known but not needed (a tied head, old rotary buffers).
  void ignore(const std::string& name) { taken_.insert(name); }
  // The first fault, or a tensor in the file that nobody took.
  Status finish() const;

 private:
  void fail(const std::string& name, const std::string& what);
  const TensorView* find(const std::string& name, const std::vector<int64_t>& shape);
  Checkpoint checkpoint_;
  at::ScalarType dtype_;
  at::Device device_;
  bool huge_pages_ = false;
  std::unordered_set<std::string> taken_;
  std::optional<Error> error_;
};

// "float32" -> F32 and so on; REQUIRES one of the three names of ModelConfig::dtype.
at::ScalarType scalar_type_of(const std::string& config_dtype);
// What config.json says, else what the embedding is stored in.
at::ScalarType checkpoint_dtype(const ModelConfig& config, const Checkpoint& checkpoint);
// fp16 checkpoints compute in fp32. `option` is "", "fp32" or "bf16".
Result<at::ScalarType> compute_dtype(const std::string& option, at::ScalarType checkpoint);

}  // namespace throughline

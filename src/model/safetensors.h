// Reads and writes safetensors files: 8 bytes of header length (little endian), a JSON header, the tensors' bytes.
//
// Torch-free. The header is untrusted: it is parsed in one linear pass and checked against the format (length at most
// kMaxHeaderBytes, known dtypes, byte ranges that match dtype and shape, no overlap, no gap, no duplicate names, the
// file ends where the last tensor does). Each fault is one clear error that names the file and the tensor.
// Bytes of a tensor point into the memory map, which lives as long as any TensorView. Thread-safe after opening.
// Format: https://github.com/huggingface/safetensors (README, "Format").
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/result.h"

namespace throughline {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as Hugging Face's reader

enum class TensorDtype {
  kBool,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kI64,
  kU64,
  kF64
};
size_t dtype_bytes(TensorDtype dtype);
const char* dtype_name(TensorDtype dtype);  // as in the file: "BF16"

struct TensorInfo {
  std::string name;
  TensorDtype dtype = TensorDtype::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes, counted from the end of the header
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in the order of their bytes
  std::vector<std::pair<std::string, std::string>> metadata;
  uint64_t data_begin = 0;  // where the tensors' bytes start in the file
};

// `file` holds at least the length and the header; `file_bytes` is the size of the whole file.
Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file, uint64_t file_bytes,
                                                   const std::string& where);

struct TensorView {
  TensorInfo info;
  const std::byte* data = nullptr;
  std::shared_ptr<const MappedFile> file;
  size_t bytes() const { return static_cast<size_t>(info.end - info.begin); }
};

// All tensors of a model directory: model.safetensors, or the shards that model.safetensors.index.json names.
class Checkpoint {
 public:
  static Result<Checkpoint> open_file(const std::string& path);
  static Result<Checkpoint> open_directory(const std::string& model_dir);

  const std::vector<TensorView>& tensors() const { return tensors_; }
  const TensorView* find(const std::string& name) const;  // null: not there
  const std::string& where() const { return where_; }     // the file, or the index file of a sharded one

 private:
  Status add_file(const std::string& path);
  std::string where_;
  std::vector<TensorView> tensors_;  // by file, then by place in it
  std::unordered_map<std::string, size_t> by_name_;
};

// A tensor to be written; `data` holds exactly its bytes.
struct TensorBytes {
  std::string name;
  TensorDtype dtype = TensorDtype::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;
};

// Writes a file tensor by tensor: the names and shapes first, then the bytes in the same order, in any pieces.
// Nothing is at `path` until finish(), which syncs and renames into place; a writer dropped before leaves no file.
// The header is padded so that tensor data starts on a 64-byte boundary of the file.
class SafetensorsWriter {
 public:
  static Result<SafetensorsWriter> create(const std::string& path,
                                          const std::vector<TensorInfo>& tensors /* no ranges */,
                                          const std::vector<std::pair<std::string, std::string>>& metadata);
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;
  ~SafetensorsWriter();
  Status write(std::span<const std::byte> bytes);
  Status finish();  // REQUIRES: all bytes of all tensors were written

 private:
  struct State;
  explicit SafetensorsWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

Status write_safetensors(const std::string& path, const std::vector<TensorBytes>& tensors,
                         const std::vector<std::pair<std::string, std::string>>& metadata = {{"format", "pt"}});

// model.safetensors.index.json for shards: (tensor, file name) pairs and the sum of tensor bytes.
Status write_shard_index(const std::string& model_dir,
                         const std::vector<std::pair<std::string, std::string>>& weight_map, uint64_t total_bytes);

}  // namespace throughline

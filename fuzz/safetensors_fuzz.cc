// rooms: base model/safetensors.cc
// Any bytes as a safetensors file: parsed or refused with one line, never a crash, a hang or absurd memory. What is
// accepted must hold together: ranges in order, without holes, up to the last byte.
#include <cstdlib>

#include "model/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  const auto header = throughline::parse_safetensors_header(file, size, "fuzz");
  if (!header.ok()) {
    if (header.error().line().find('\n') != std::string::npos) std::abort();
    return 0;
  }
  uint64_t at = 0;
  for (const throughline::TensorInfo& tensor : header->tensors) {
    uint64_t bytes = throughline::dtype_bytes(tensor.dtype);
    for (const int64_t n : tensor.shape) bytes *= static_cast<uint64_t>(n);
    if (tensor.begin != at || tensor.end - tensor.begin != bytes) std::abort();
    at = tensor.end;
  }
  if (header->data_begin + at != size) std::abort();
  return 0;
}

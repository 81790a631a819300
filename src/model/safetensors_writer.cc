#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/json.h"
#include "model/safetensors.h"

namespace throughline {
namespace {

constexpr uint64_t kDataAlignment = 64;  // a cache line, and the widest vector load

std::string header_text(const std::vector<TensorInfo>& tensors,
                        const std::vector<std::pair<std::string, std::string>>& metadata, uint64_t* total_bytes) {
  std::string text = "{";
  if (!metadata.empty()) {
    text += "\"__metadata__\":{";
    for (size_t i = 0; i < metadata.size(); ++i) {
      if (i > 0) text += ",";
      text += dump_json(Json(metadata[i].first)) + ":" + dump_json(Json(metadata[i].second));
    }
    text += "}";
  }
  uint64_t at = 0;
  for (const TensorInfo& tensor : tensors) {
    if (text.size() > 1) text += ",";
    text += dump_json(Json(tensor.name)) + ":{\"dtype\":\"" + dtype_name(tensor.dtype) + "\",\"shape\":[";
    uint64_t bytes = dtype_bytes(tensor.dtype);
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      if (i > 0) text += ",";
      text += std::to_string(tensor.shape[i]);
      bytes *= static_cast<uint64_t>(tensor.shape[i]);
    }
    text += "],\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + bytes) + "]}";
    at += bytes;
  }
  text += "}";
  text.append((kDataAlignment - (8 + text.size()) % kDataAlignment) % kDataAlignment, ' ');
  *total_bytes = at;
  return text;
}

}  // namespace

struct SafetensorsWriter::State {
  std::string path, temporary;
  int fd = -1;
  uint64_t expected_bytes = 0, written_bytes = 0;
  bool finished = false;

  ~State() {
    if (fd >= 0) ::close(fd);
    if (!finished) ::unlink(temporary.c_str());
  }

  Error failure(const char* doing) const {
    const int code = errno;
    return Error{std::string(doing) + ": " + std::strerror(code), path,
                 code == ENOSPC ? "free some disk space and run again" : ""};
  }

  Status write_all(const char* data, size_t bytes) {
    while (bytes > 0) {
      const ssize_t n = ::write(fd, data, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failure("cannot write");
      data += n;
      bytes -= static_cast<size_t>(n);
    }
    return {};
  }
};

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

Result<SafetensorsWriter> SafetensorsWriter::create(const std::string& path, const std::vector<TensorInfo>& tensors,
                                                    const std::vector<std::pair<std::string, std::string>>& metadata) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->temporary = path + ".tmp." + std::to_string(::getpid());
  state->fd = ::open(state->temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (state->fd < 0) return state->failure("cannot create");
  const std::string header = header_text(tensors, metadata, &state->expected_bytes);
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
  TL_TRY_STATUS(state->write_all(length, sizeof length));
  TL_TRY_STATUS(state->write_all(header.data(), header.size()));
  return SafetensorsWriter(std::move(state));
}

Status SafetensorsWriter::write(std::span<const std::byte> bytes) {
  state_->written_bytes += bytes.size();
  TL_CHECK(state_->written_bytes <= state_->expected_bytes, "more bytes than the header promised");
  return state_->write_all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Status SafetensorsWriter::finish() {
  TL_CHECK(state_->written_bytes == state_->expected_bytes, "fewer bytes than the header promised");
  if (::fsync(state_->fd) != 0) return state_->failure("cannot sync");
  if (::rename(state_->temporary.c_str(), state_->path.c_str()) != 0)
    return state_->failure("cannot rename into place");
  state_->finished = true;
  const std::string folder = std::filesystem::path(state_->path).parent_path().string();
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    ::fsync(fd);  // some file systems refuse; the rename itself has happened
    ::close(fd);
  }
  return {};
}

Status write_safetensors(const std::string& path, const std::vector<TensorBytes>& tensors,
                         const std::vector<std::pair<std::string, std::string>>& metadata) {
  std::vector<TensorInfo> infos;
  infos.reserve(tensors.size());
  for (const TensorBytes& t : tensors) infos.push_back(TensorInfo{t.name, t.dtype, t.shape, 0, 0});
  TL_TRY(auto writer, SafetensorsWriter::create(path, infos, metadata));
  for (const TensorBytes& t : tensors) TL_TRY_STATUS(writer.write(t.data));
  return writer.finish();
}

}  // namespace throughline

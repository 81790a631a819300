#include "train/checkpoint.h"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/files.h"
#include "model/safetensors.h"
#include "model/save.h"

namespace throughline {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStateFile = "state.json";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr int64_t kFormat = 1;
constexpr size_t kTokenizerFileLimit = size_t{256} << 20;

TensorDtype file_dtype(at::ScalarType type) {
  if (type == at::kLong) return TensorDtype::kI64;
  if (type == at::kBFloat16) return TensorDtype::kBF16;
  TL_CHECK(type == at::kFloat, "optimizer state is fp32, bf16 or int64");
  return TensorDtype::kF32;
}

// Finds damage, not malice: eight bytes at a time, multiplied and folded.
uint64_t checksum(const std::byte* data, size_t size) {
  uint64_t hash = 0x9e3779b97f4a7c15ULL ^ size;
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data + i, std::min<size_t>(8, size - i));
    hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
    hash ^= hash >> 32;
  }
  return hash;
}

Result<Json> describe_file(const std::string& path) {
  TL_TRY(const auto file, MappedFile::open(path));
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(checksum(file->data(), file->size())));
  return Json{{"bytes", file->size()}, {"checksum", text}};
}

Status write_tensors(const std::string& path, const NamedTensors& tensors) {
  std::vector<TensorBytes> list;
  std::vector<at::Tensor> held;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& t = held.emplace_back(tensor.detach().to(at::kCPU).contiguous());
    list.push_back({name,
                    file_dtype(t.scalar_type()),
                    t.sizes().vec(),
                    {static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes()}});
  }
  return write_safetensors(path, list);
}

Result<NamedTensors> read_tensors(const std::string& path) {
  TL_TRY(const Checkpoint file, Checkpoint::open_file(path));
  NamedTensors out;
  for (const TensorView& view : file.tensors()) {
    at::ScalarType type;
    if (view.info.dtype == TensorDtype::kF32) {
      type = at::kFloat;
    } else if (view.info.dtype == TensorDtype::kBF16) {
      type = at::kBFloat16;
    } else if (view.info.dtype == TensorDtype::kI64) {
      type = at::kLong;
    } else {
      return Error{"has a dtype that no optimizer writes", path + ": " + view.info.name, ""};
    }
    at::Tensor tensor = at::empty(view.info.shape, type);
    std::memcpy(tensor.mutable_data_ptr(), view.data, view.bytes());
    out.emplace_back(view.info.name, std::move(tensor));
  }
  return out;
}

void sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

// step -> folder, of those with a name of ours.
std::map<int64_t, std::string> list_checkpoints(const std::string& checkpoints) {
  std::map<int64_t, std::string> out;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(checkpoints, code)) {
    const std::string name = entry.path().filename().string();
    if (name.compare(0, 5, "step-") != 0 || name.size() > 20) continue;
    if (name.size() == 5 || name.find_first_not_of("0123456789", 5) != std::string::npos) continue;
    out[std::stoll(name.substr(5))] = entry.path().string();
  }
  return out;
}

Status write_folder(const std::string& folder, const CheckpointContent& content, const Decoder& decoder,
                    const std::string& tokenizer_dir) {
  TL_TRY_STATUS(save_model(folder, decoder.config(), decoder.parameters()));
  if (!tokenizer_dir.empty()) TL_TRY_STATUS(copy_tokenizer_files(tokenizer_dir, folder));
  TL_TRY_STATUS(write_tensors(join_path(folder, kOptimizerFile), content.optimizer));
  Json files = Json::object();
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    TL_TRY(files[name], describe_file(join_path(folder, name)));
  }
  const Json state = {{"format", kFormat}, {"step", content.step}, {"state", content.state}, {"files", files}};
  return write_atomically(join_path(folder, kStateFile), state.dump(1) + "\n");
}

}  // namespace

Status copy_tokenizer_files(const std::string& from, const std::string& to) {
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json",
        "special_tokens_map.json", "chat_template.jinja", "chat_template.json", "generation_config.json"}) {
    const std::string source = join_path(from, name);
    if (!file_exists(source)) continue;
    TL_TRY(const std::string bytes, read_file(source, kTokenizerFileLimit));
    TL_TRY_STATUS(write_atomically(join_path(to, name), bytes));
  }
  return {};
}

Result<std::string> save_checkpoint(const std::string& checkpoints, const CheckpointContent& content,
                                    const Decoder& decoder, const std::string& tokenizer_dir, int64_t keep) {
  TL_TRY_STATUS(make_directories(checkpoints));
  const std::string name = "step-" + std::to_string(content.step);
  const std::string target = join_path(checkpoints, name), temporary = join_path(checkpoints, "." + name + ".tmp");
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(checkpoints, code)) {  // what killed writers left
    const std::string left = entry.path().filename().string();
    if (left.compare(0, 6, ".step-") == 0) fs::remove_all(entry.path(), code);
  }
  const Status written = write_folder(temporary, content, decoder, tokenizer_dir);
  if (!written.ok()) {
    fs::remove_all(temporary, code);
    return written.error();
  }
  sync_folder(temporary);
  fs::remove_all(target, code);  // a damaged one of the same step
  fs::rename(temporary, target, code);
  if (code) {
    const Error error{"cannot rename into place: " + code.message(), target, ""};
    fs::remove_all(temporary, code);
    return error;
  }
  sync_folder(checkpoints);
  if (keep > 0) {
    const auto all = list_checkpoints(checkpoints);
    auto left = static_cast<int64_t>(all.size());
    for (const auto& [step, folder] : all) {
      if (left-- <= keep) break;
      fs::remove_all(folder, code);
    }
  }
  return target;
}

Status check_checkpoint(const std::string& folder) {
  TL_TRY(const Json state, read_json_file(join_path(folder, kStateFile)));
  const std::string where = join_path(folder, kStateFile);
  const auto files = state.find("files");
  if (!state.is_object() || files == state.end() || !files->is_object() || !state.contains("state") ||
      !state.contains("step") || !state["step"].is_number_integer() || state.value("format", Json()) != kFormat) {
    return Error{"is not a checkpoint of this version", where, "use another checkpoint"};
  }
  for (const char* name : {"config.json", kOptimizerFile}) {
    if (!files->contains(name)) return Error{std::string("does not list ") + name, where, "use another checkpoint"};
  }
  for (const auto& [name, expected] : files->items()) {
    if (name.find('/') != std::string::npos) return Error{"lists a file elsewhere: " + name, where, ""};
    TL_TRY(const Json found, describe_file(join_path(folder, name)));
    if (found != expected)
      return Error{"is damaged: its size or checksum is not the recorded one", join_path(folder, name),
                   "use another checkpoint"};
  }
  return {};
}

Result<std::optional<FoundCheckpoint>> load_newest_checkpoint(const std::string& checkpoints,
                                                              const std::function<void(const std::string&)>& warn) {
  const auto all = list_checkpoints(checkpoints);
  const auto load = [](int64_t step, const std::string& folder) -> Result<FoundCheckpoint> {
    TL_TRY_STATUS(check_checkpoint(folder));
    TL_TRY(const Json state, read_json_file(join_path(folder, kStateFile)));
    if (state["step"] != step) return Error{"is of step " + state["step"].dump(), folder, "use another checkpoint"};
    FoundCheckpoint out{folder, {step, state["state"], {}}};
    TL_TRY(out.content.optimizer, read_tensors(join_path(folder, kOptimizerFile)));
    return out;
  };
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    auto found = load(it->first, it->second);
    if (found.ok()) return std::optional<FoundCheckpoint>(std::move(found).value());
    warn("checkpoint passed over: " + found.error().line());
  }
  if (!all.empty())
    return Error{"none of the " + std::to_string(all.size()) + " checkpoints is whole", checkpoints,
                 "start a new --run-dir"};
  return std::optional<FoundCheckpoint>();
}

}  // namespace throughline

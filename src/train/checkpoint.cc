#include "train/checkpoint.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
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
constexpr const char* kRangeTensor = "range";
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

std::string optimizer_file(int rank, int world) {
  if (world == 1) return "optimizer.safetensors";
  char name[64];
  std::snprintf(name, sizeof name, "optimizer-%05d-of-%05d.safetensors", rank + 1, world);
  return name;
}

bool is_optimizer_file(const std::string& name) {
  return name.compare(0, 9, "optimizer") == 0 && name.ends_with(".safetensors");
}

Status write_optimizer(const std::string& folder, const CheckpointContent& content, int rank, int world) {
  NamedTensors tensors = content.optimizer;
  const ShardRange range = content.optimizer_range;
  tensors.emplace_back(kRangeTensor, at::tensor({range.begin, range.end}, at::kLong));
  return write_tensors(join_path(folder, optimizer_file(rank, world)), tensors);
}

Result<at::ScalarType> dtype_of(const TensorView& view, const std::string& path) {
  if (view.info.dtype == TensorDtype::kF32) return at::kFloat;
  if (view.info.dtype == TensorDtype::kBF16) return at::kBFloat16;
  if (view.info.dtype == TensorDtype::kI64) return at::kLong;
  return Error{"has a dtype that no optimizer writes", path + ": " + view.info.name, ""};
}

// One file of the optimizer's state.
struct OptimizerPart {
  std::string path;
  Checkpoint file;
  ShardRange range;
};

Result<OptimizerPart> open_part(const std::string& path) {
  TL_TRY(Checkpoint file, Checkpoint::open_file(path));
  const TensorView* range = file.find(kRangeTensor);
  if (!range || range->info.dtype != TensorDtype::kI64 || range->bytes() != 2 * sizeof(int64_t)) {
    return Error{"does not say which elements it holds (\"range\")", path, "use another checkpoint"};
  }
  OptimizerPart part{path, std::move(file), {}};
  std::memcpy(&part.range.begin, range->data, sizeof(int64_t));
  std::memcpy(&part.range.end, range->data + sizeof(int64_t), sizeof(int64_t));
  if (part.range.begin < 0 || part.range.end < part.range.begin) {
    return Error{"has a range that ends before it begins", path, "use another checkpoint"};
  }
  for (const TensorView& view : part.file.tensors()) {
    TL_TRY(const at::ScalarType type, dtype_of(view, path));
    (void)type;
    const bool is_scalar = view.info.shape.empty();
    const bool fits = view.info.shape.size() == 1 && view.info.shape[0] == part.range.size();
    if (view.info.name != kRangeTensor && !is_scalar && !fits) {
      return Error{"does not have its range's size", path + ": " + view.info.name, "use another checkpoint"};
    }
  }
  return part;
}

// Copies the elements that a part and the wanted range share.
Status copy_overlap(const OptimizerPart& part, ShardRange wanted, NamedTensors& out) {
  const int64_t from = std::max(part.range.begin, wanted.begin), to = std::min(part.range.end, wanted.end);
  for (const TensorView& view : part.file.tensors()) {
    if (view.info.name == kRangeTensor) continue;
    TL_TRY(const at::ScalarType type, dtype_of(view, part.path));
    auto found = std::find_if(out.begin(), out.end(), [&](const auto& entry) { return entry.first == view.info.name; });
    const bool is_scalar = view.info.shape.empty();
    if (found == out.end()) {
      const std::vector<int64_t> shape = is_scalar ? std::vector<int64_t>() : std::vector<int64_t>{wanted.size()};
      found = out.emplace(out.end(), view.info.name, at::zeros(shape, type));
    }
    at::Tensor& target = found->second;
    if (target.scalar_type() != type || (target.dim() == 0) != is_scalar) {
      return Error{"is of another kind than in the other parts", part.path + ": " + view.info.name,
                   "use another checkpoint"};
    }
    const auto width = static_cast<int64_t>(at::elementSize(type));
    auto* bytes = static_cast<std::byte*>(target.mutable_data_ptr());
    if (is_scalar) {
      std::memcpy(bytes, view.data, view.bytes());
    } else if (from < to) {
      std::memcpy(bytes + (from - wanted.begin) * width, view.data + (from - part.range.begin) * width,
                  (to - from) * width);
    }
  }
  return {};
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

// All but the optimizer's state, whose `world` parts are there.
Status write_folder(const std::string& folder, const CheckpointContent& content, const Decoder& decoder,
                    const std::string& tokenizer_dir, int world) {
  for (int rank = 0; rank < world; ++rank) {
    if (file_exists(join_path(folder, optimizer_file(rank, world)))) continue;
    return Error{"rank " + std::to_string(rank) + " wrote its part elsewhere", folder,
                 "--run-dir must be on a file system that all processes share"};
  }
  TL_TRY_STATUS(save_model(folder, decoder.config(), decoder.parameters()));
  if (!tokenizer_dir.empty()) TL_TRY_STATUS(copy_tokenizer_files(tokenizer_dir, folder));
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

namespace {

Status prepare_folder(const std::string& checkpoints, const std::string& temporary) {
  TL_TRY_STATUS(make_directories(checkpoints));
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(checkpoints, code)) {  // what killed writers left
    const std::string left = entry.path().filename().string();
    if (left.compare(0, 6, ".step-") == 0) fs::remove_all(entry.path(), code);
  }
  return make_directories(temporary);
}

Status move_into_place(const std::string& temporary, const std::string& target) {
  sync_folder(temporary);
  std::error_code code;
  fs::remove_all(target, code);  // a damaged one of the same step
  fs::rename(temporary, target, code);
  if (code) return Error{"cannot rename into place: " + code.message(), target, ""};
  return {};
}

// Those of later steps than the one just written go first: they were damaged, and the run went on from before them.
void remove_oldest(const std::string& checkpoints, int64_t written, int64_t keep) {
  std::vector<std::string> earlier, order;
  for (const auto& [step, folder] : list_checkpoints(checkpoints)) (step > written ? order : earlier).push_back(folder);
  order.insert(order.end(), earlier.begin(), earlier.end());
  std::error_code code;
  for (size_t i = 0; i + static_cast<size_t>(keep) < order.size(); ++i) fs::remove_all(order[i], code);
}

}  // namespace

Result<std::string> save_checkpoint(const std::string& checkpoints, const CheckpointContent& content,
                                    const Decoder& decoder, const std::string& tokenizer_dir, int64_t keep,
                                    ProcessGroup* group) {
  const std::string name = "step-" + std::to_string(content.step);
  const std::string target = join_path(checkpoints, name), temporary = join_path(checkpoints, "." + name + ".tmp");
  const int rank = group ? group->rank() : 0, world = group ? group->world() : 1;
  const auto give_up = [&](const Error& error) {
    std::error_code code;
    if (rank == 0) fs::remove_all(temporary, code);
    return error;
  };
  Status own = rank == 0 ? prepare_folder(checkpoints, temporary) : Status();
  if (const Status all = agree(group, own); !all.ok()) return give_up(all.error());
  own = write_optimizer(temporary, content, rank, world);
  if (const Status all = agree(group, own); !all.ok()) return give_up(all.error());
  if (rank == 0) {
    own = write_folder(temporary, content, decoder, tokenizer_dir, world);
    if (own.ok()) own = move_into_place(temporary, target);
  }
  if (const Status all = agree(group, own); !all.ok()) return give_up(all.error());
  if (rank == 0) {
    sync_folder(checkpoints);
    if (keep > 0) remove_oldest(checkpoints, content.step, keep);
  }
  return target;
}

Result<NamedTensors> load_optimizer_state(const std::string& folder, ShardRange range) {
  std::vector<OptimizerPart> parts;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    if (!is_optimizer_file(entry.path().filename().string())) continue;
    TL_TRY(OptimizerPart part, open_part(entry.path().string()));
    parts.push_back(std::move(part));
  }
  std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.range.begin < b.range.begin; });
  NamedTensors out;
  int64_t known = range.begin;  // elements up to here are there
  for (const OptimizerPart& part : parts) {
    if (part.range.begin <= known) known = std::max(known, part.range.end);
    TL_TRY_STATUS(copy_overlap(part, range, out));
  }
  if (known < range.end) {
    return Error{"the optimizer's state lacks elements from " + std::to_string(known), folder,
                 "use another checkpoint"};
  }
  return out;
}

Status check_checkpoint(const std::string& folder) {
  TL_TRY(const Json state, read_json_file(join_path(folder, kStateFile)));
  const std::string where = join_path(folder, kStateFile);
  const auto files = state.find("files");
  if (!state.is_object() || files == state.end() || !files->is_object() || !state.contains("state") ||
      !state.contains("step") || !state["step"].is_number_integer() || state.value("format", Json()) != kFormat) {
    return Error{"is not a checkpoint of this version", where, "use another checkpoint"};
  }
  bool has_optimizer = false;
  for (const auto& [name, ignored] : files->items()) has_optimizer |= is_optimizer_file(name);
  if (!has_optimizer || !files->contains("config.json")) {
    return Error{"does not list config.json and an optimizer's state", where, "use another checkpoint"};
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
    TL_TRY(const NamedTensors readable, load_optimizer_state(folder, {0, 0}));
    (void)readable;
    return FoundCheckpoint{folder, step, state["state"]};
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

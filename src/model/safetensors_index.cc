// The sharded form: model.safetensors.index.json = {"metadata": {...}, "weight_map": {tensor: file name}}.
#include <unordered_set>

#include "base/json.h"
#include "model/safetensors.h"

namespace throughline {
namespace {

constexpr size_t kMaxIndexBytes = 64 << 20;
constexpr size_t kMaxShards = 4096;

// Reads weight_map in one pass without a tree; whatever else the index holds is skipped.
class IndexReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit IndexReader(std::string where) : where_(std::move(where)) {}

  bool null() override { return value("null"); }
  bool boolean(bool) override { return value("true or false"); }
  bool number_integer(number_integer_t) override { return value("a number"); }
  bool number_unsigned(number_unsigned_t) override { return value("a number"); }
  bool number_float(number_float_t, const string_t&) override { return value("a number"); }
  bool binary(binary_t&) override { return value("binary data"); }

  bool string(string_t& file) override {
    if (depth_ != 2 || !in_map_) return value("a string");
    // A shard lies beside its index; a path would let an index read files elsewhere.
    if (file.empty() || file.find('/') != std::string::npos || file == "." || file == ".." ||
        file.find('\0') != std::string::npos) {
      return fail("\"" + file + "\" is not a file name", key_);
    }
    if (known_files_.insert(file).second) files_.push_back(file);
    if (files_.size() > kMaxShards) return fail("names more than 4096 files", key_);
    entries_.emplace_back(key_, file);
    return true;
  }

  bool start_object(std::size_t) override {
    if (in_map_ && depth_ >= 2) return value("an object");
    if (++depth_ == 2 && expect_map_) {
      in_map_ = true;
      has_map_ = true;
      expect_map_ = false;
    }
    return true;
  }

  bool key(string_t& name) override {
    if (depth_ == 1) {
      expect_map_ = name == "weight_map";
      if (expect_map_ && has_map_) return fail("weight_map appears twice", "");
    } else if (depth_ == 2 && in_map_) {
      key_ = name;
      if (!names_.insert(name).second) return fail("the tensor appears twice", name);
    }
    return true;
  }

  bool end_object() override {
    if (depth_-- == 2) in_map_ = false;
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ == 0 || in_map_ || expect_map_) return value("an array");
    ++depth_;
    return true;
  }

  bool end_array() override {
    --depth_;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    error_ = Error{"invalid JSON near byte " + std::to_string(position), where_, ""};
    return false;
  }

  bool has_map() const { return has_map_; }
  const std::optional<Error>& error() const { return error_; }
  const std::vector<std::string>& files() const { return files_; }
  const std::vector<std::pair<std::string, std::string>>& entries() const { return entries_; }

 private:
  bool value(const char* what) {
    if (depth_ == 0) return fail(std::string("is ") + what + ", not an object", "");
    if (expect_map_ && depth_ == 1) return fail(std::string("is ") + what + ", not an object", "");
    if (in_map_) return fail(std::string("is ") + what + ", not a file name", key_);
    return true;
  }

  bool fail(const std::string& what, const std::string& tensor) {
    std::string place = where_;
    if (in_map_ || expect_map_) place += ": weight_map";
    if (!tensor.empty()) place += "[\"" + tensor + "\"]";
    error_ = Error{what, place, "the index is damaged; download it again"};
    return false;
  }

  std::string where_, key_;
  int depth_ = 0;
  bool expect_map_ = false, in_map_ = false, has_map_ = false;
  std::unordered_set<std::string> names_, known_files_;
  std::vector<std::string> files_;
  std::vector<std::pair<std::string, std::string>> entries_;
  std::optional<Error> error_;
};

}  // namespace

Result<Checkpoint> Checkpoint::open_directory(const std::string& model_dir) {
  if (!is_directory(model_dir)) return Error{"is not a folder", model_dir, "give the folder that holds config.json"};
  const std::string single = join_path(model_dir, "model.safetensors");
  const std::string index = join_path(model_dir, "model.safetensors.index.json");
  if (file_exists(single)) return open_file(single);  // first, as in transformers
  if (!file_exists(index)) {
    return Error{"has neither model.safetensors nor model.safetensors.index.json", model_dir,
                 "only safetensors checkpoints are read; convert .bin or .gguf files first"};
  }
  TL_TRY(const std::string text, read_file(index, kMaxIndexBytes));
  IndexReader reader(index);
  if (!nlohmann::json::sax_parse(text, &reader)) {
    return reader.error().value_or(Error{"invalid JSON", index, ""});
  }
  if (!reader.has_map()) return Error{"weight_map is missing", index, "the index is damaged; download it again"};
  Checkpoint out;
  out.where_ = index;
  for (const std::string& file : reader.files()) TL_TRY_STATUS(out.add_file(join_path(model_dir, file)));
  for (const auto& [name, file] : reader.entries()) {
    const TensorView* view = out.find(name);
    if (view == nullptr || view->file->path() != join_path(model_dir, file)) {
      return Error{"the tensor is not in " + file, index + ": weight_map[\"" + name + "\"]",
                   "a shard is missing or of another version; download it again"};
    }
  }
  return out;
}

Status write_shard_index(const std::string& model_dir,
                         const std::vector<std::pair<std::string, std::string>>& weight_map, uint64_t total_bytes) {
  // Written by hand: an ordered tree would look every new key up in all before it.
  std::string text = "{\"metadata\": {\"total_size\": " + std::to_string(total_bytes) + "}, \"weight_map\": {";
  bool first = true;
  for (const auto& [name, file] : weight_map) {
    if (!first) text += ", ";
    first = false;
    text += "\n  " + dump_json(Json(name)) + ": " + dump_json(Json(file));
  }
  text += "\n}}\n";
  return write_atomically(join_path(model_dir, "model.safetensors.index.json"), text);
}

}  // namespace throughline

#include "model/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_set>

#include "base/json.h"

namespace throughline {
namespace {

struct DtypeRow {
  TensorDtype dtype;
  const char* name;
  size_t bytes;
};
constexpr std::array<DtypeRow, 15> kDtypes = {{{TensorDtype::kBool, "BOOL", 1},
                                               {TensorDtype::kU8, "U8", 1},
                                               {TensorDtype::kI8, "I8", 1},
                                               {TensorDtype::kF8E4M3, "F8_E4M3", 1},
                                               {TensorDtype::kF8E5M2, "F8_E5M2", 1},
                                               {TensorDtype::kI16, "I16", 2},
                                               {TensorDtype::kU16, "U16", 2},
                                               {TensorDtype::kF16, "F16", 2},
                                               {TensorDtype::kBF16, "BF16", 2},
                                               {TensorDtype::kI32, "I32", 4},
                                               {TensorDtype::kU32, "U32", 4},
                                               {TensorDtype::kF32, "F32", 4},
                                               {TensorDtype::kI64, "I64", 8},
                                               {TensorDtype::kU64, "U64", 8},
                                               {TensorDtype::kF64, "F64", 8}}};

constexpr size_t kMaxDimensions = 32;
constexpr const char* kDownloadAgain = "the file is damaged or not safetensors; download or write it again";

// Walks the header's JSON once without building a tree (a tree of 100 MB of JSON could take gigabytes).
// Shape: {"__metadata__": {text: text}, name: {"dtype": text, "shape": [n...], "data_offsets": [begin, end]}}.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(SafetensorsHeader& header, std::string where) : header_(header), where_(std::move(where)) {}

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("true or false"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a fraction"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      if (tensor_.shape.size() == kMaxDimensions) return fail("shape has more than 32 dimensions");
      if (value > static_cast<uint64_t>(INT64_MAX)) return fail("shape: a dimension does not fit in 63 bits");
      tensor_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsets) {
      if (offsets_ == 2) return fail("data_offsets has more than two numbers");
      (offsets_++ == 0 ? tensor_.begin : tensor_.end) = value;
      return true;
    }
    return unexpected("a number");
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      header_.metadata.emplace_back(metadata_key_, value);
      return true;
    }
    if (place_ != Place::kTensor || field_ != kDtypeField) return unexpected("a string");
    for (const DtypeRow& row : kDtypes) {
      if (value == row.name) {
        tensor_.dtype = row.dtype;
        return true;
      }
    }
    return fail("dtype \"" + value + "\" is unknown");
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::kTop) {
      place_ = Place::kNames;
    } else if (place_ == Place::kNames) {
      place_ = tensor_.name == "__metadata__" ? Place::kMetadata : Place::kTensor;
      seen_ = field_ = offsets_ = 0;
    } else {
      return unexpected("an object");
    }
    return true;
  }

  bool key(string_t& name) override {
    if (place_ == Place::kNames) {
      tensor_ = TensorInfo{};
      tensor_.name = name;
      return names_.insert(name).second || fail("the name appears twice in the header");
    }
    if (place_ == Place::kMetadata) {
      metadata_key_ = name;
      return metadata_names_.insert(name).second || fail("duplicate key \"" + name + "\"");
    }
    field_ = name == "dtype" ? kDtypeField : name == "shape" ? kShapeField : name == "data_offsets" ? kOffsetsField : 0;
    if (field_ == 0) return fail("unknown key \"" + name + "\"");
    if ((seen_ & field_) != 0) return fail("duplicate key \"" + name + "\"");
    seen_ |= field_;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      if ((seen_ & kDtypeField) == 0) return fail("dtype is missing");
      if ((seen_ & kShapeField) == 0) return fail("shape is missing");
      if ((seen_ & kOffsetsField) == 0) return fail("data_offsets is missing");
      header_.tensors.push_back(std::move(tensor_));
    }
    place_ = place_ == Place::kNames ? Place::kTop : Place::kNames;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::kTensor && field_ == kShapeField) {
      place_ = Place::kShape;
    } else if (place_ == Place::kTensor && field_ == kOffsetsField) {
      place_ = Place::kOffsets;
    } else {
      return unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offsets_ != 2) return fail("data_offsets must be two numbers");
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    error_ = Error{"the header is not valid JSON near byte " + std::to_string(position), where_, kDownloadAgain};
    return false;
  }

  const std::optional<Error>& error() const { return error_; }

 private:
  enum class Place { kTop, kNames, kMetadata, kTensor, kShape, kOffsets };
  static constexpr int kDtypeField = 1, kShapeField = 2, kOffsetsField = 4;

  bool fail(const std::string& what) {
    error_ = Error{what, where_ + ": tensor \"" + tensor_.name + "\"", kDownloadAgain};
    return false;
  }

  bool unexpected(const char* value) {
    switch (place_) {
      case Place::kTop:
        error_ = Error{std::string("the header is ") + value + ", not an object", where_, kDownloadAgain};
        return false;
      case Place::kNames:
        return fail(std::string("is ") + value + ", not an object");
      case Place::kMetadata:
        return fail("\"" + metadata_key_ + "\" is " + value + ", not a string");
      case Place::kShape:
        return fail(std::string("shape holds ") + value + ", not a count");
      case Place::kOffsets:
        return fail(std::string("data_offsets holds ") + value + ", not a byte offset");
      case Place::kTensor:
        break;
    }
    const char* name = field_ == kDtypeField ? "dtype" : field_ == kShapeField ? "shape" : "data_offsets";
    return fail(std::string(name) + " is " + value);
  }

  SafetensorsHeader& header_;
  std::string where_;
  Place place_ = Place::kTop;
  TensorInfo tensor_;
  std::string metadata_key_;
  int field_ = 0, seen_ = 0, offsets_ = 0;
  std::unordered_set<std::string> names_, metadata_names_;
  std::optional<Error> error_;
};

// dtype and shape give the byte count that data_offsets must span.
Status check_size(const TensorInfo& tensor, uint64_t data_bytes, const std::string& where) {
  const std::string place = where + ": tensor \"" + tensor.name + "\"";
  uint64_t bytes = dtype_bytes(tensor.dtype);
  for (const int64_t n : tensor.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(n), &bytes))
      return Error{"shape does not fit in 64 bits", place, kDownloadAgain};
  }
  if (tensor.begin > tensor.end) return Error{"data_offsets run backwards", place, kDownloadAgain};
  if (tensor.end - tensor.begin != bytes) {
    return Error{"data_offsets span " + std::to_string(tensor.end - tensor.begin) +
                     " bytes where dtype and shape need " + std::to_string(bytes),
                 place, kDownloadAgain};
  }
  if (tensor.end > data_bytes) {
    return Error{"data_offsets end at byte " + std::to_string(tensor.end) + " of " + std::to_string(data_bytes) +
                     ": the file is truncated",
                 place, kDownloadAgain};
  }
  return {};
}

}  // namespace

size_t dtype_bytes(TensorDtype dtype) { return kDtypes[static_cast<size_t>(dtype)].bytes; }
const char* dtype_name(TensorDtype dtype) { return kDtypes[static_cast<size_t>(dtype)].name; }

Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file, uint64_t file_bytes,
                                                   const std::string& where) {
  if (file.size() < 8) return Error{"has only " + std::to_string(file.size()) + " bytes", where, kDownloadAgain};
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | std::to_integer<uint64_t>(file[i]);
  if (header_bytes > kMaxHeaderBytes) {
    return Error{"the header length " + std::to_string(header_bytes) + " is absurd (limit " +
                     std::to_string(kMaxHeaderBytes) + " bytes)",
                 where, kDownloadAgain};
  }
  if (header_bytes > file.size() - 8) {
    return Error{"the header of " + std::to_string(header_bytes) + " bytes goes past the end: the file is truncated",
                 where, kDownloadAgain};
  }
  const char* text = reinterpret_cast<const char*>(file.data()) + 8;
  if (header_bytes < 2 || text[0] != '{') return Error{"the header does not start with '{'", where, kDownloadAgain};
  SafetensorsHeader header;
  HeaderReader reader(header, where);
  if (!nlohmann::json::sax_parse(text, text + header_bytes, &reader)) {
    return reader.error().value_or(Error{"the header is not valid JSON", where, kDownloadAgain});
  }
  header.data_begin = 8 + header_bytes;
  const uint64_t data_bytes = file_bytes - header.data_begin;
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t at = 0;
  const TensorInfo* before = nullptr;
  for (const TensorInfo& tensor : header.tensors) {
    TL_TRY_STATUS(check_size(tensor, data_bytes, where));
    if (tensor.begin != at) {
      const std::string place = where + ": tensor \"" + tensor.name + "\"";
      if (tensor.begin < at) return Error{"overlaps tensor \"" + before->name + "\"", place, kDownloadAgain};
      return Error{"data_offsets leave a gap of " + std::to_string(tensor.begin - at) + " bytes before it", place,
                   kDownloadAgain};
    }
    at = tensor.end;
    before = &tensor;
  }
  if (at != data_bytes) {
    return Error{std::to_string(data_bytes - at) + " bytes follow the last tensor", where, kDownloadAgain};
  }
  return header;
}

Status Checkpoint::add_file(const std::string& path) {
  TL_TRY(auto file, MappedFile::open(path));
  TL_TRY(auto header, parse_safetensors_header({file->data(), file->size()}, file->size(), path));
  for (TensorInfo& info : header.tensors) {
    const std::byte* data = file->data() + header.data_begin + info.begin;
    if (!by_name_.emplace(info.name, tensors_.size()).second) {
      return Error{"another shard has this tensor too", path + ": tensor \"" + info.name + "\"", kDownloadAgain};
    }
    tensors_.push_back(TensorView{std::move(info), data, file});
  }
  return {};
}

Result<Checkpoint> Checkpoint::open_file(const std::string& path) {
  Checkpoint out;
  out.where_ = path;
  TL_TRY_STATUS(out.add_file(path));
  return out;
}

const TensorView* Checkpoint::find(const std::string& name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace throughline

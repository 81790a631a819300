#include "train/tensorboard.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "base/crc32c.h"

namespace throughline {
namespace {

double now_s() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

template <typename Integer>
void put_little_endian(std::string& out, Integer value) {
  for (size_t byte = 0; byte < sizeof(Integer); ++byte) out += static_cast<char>((value >> (8 * byte)) & 0xFF);
}

// A protobuf message; fields in ascending order of their numbers, as protobuf's own writer has them.
class Message {
 public:
  Message& varint(int field, uint64_t value) {
    key(field, 0);
    raw_varint(value);
    return *this;
  }
  Message& fixed64(int field, double value) {
    key(field, 1);
    put_little_endian(bytes_, std::bit_cast<uint64_t>(value));
    return *this;
  }
  Message& fixed32(int field, float value) {
    key(field, 5);
    put_little_endian(bytes_, std::bit_cast<uint32_t>(value));
    return *this;
  }
  Message& bytes(int field, std::string_view value) {
    key(field, 2);
    raw_varint(value.size());
    bytes_ += value;
    return *this;
  }
  const std::string& done() const { return bytes_; }

 private:
  void key(int field, uint64_t wire_type) { raw_varint(static_cast<uint64_t>(field) << 3 | wire_type); }
  void raw_varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7F) | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

// Event: wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7. A step of 0 is not written.
Message open_event(double wall_time_s, int64_t step) {
  Message event;
  event.fixed64(1, wall_time_s);
  if (step != 0) event.varint(2, static_cast<uint64_t>(step));
  return event;
}

// Summary.value = 1; Value: tag = 1, simple_value = 2, tensor = 8, metadata = 9.
constexpr int kSummary = 5, kSummaryValue = 1;

// With nothing in it that a file name should not have.
std::string host_name() {
  char name[256] = "";
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "host";
  std::string out(name);
  for (char& c : out) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') c = '_';
  }
  return out;
}

// Of the newest event file in the folder; 0: there is none.
int64_t newest_second(const std::string& folder) {
  constexpr std::string_view kPrefix = "events.out.tfevents.";
  int64_t newest = 0;
  std::error_code ignored;
  for (std::filesystem::directory_iterator it(folder, ignored), end; !ignored && it != end; it.increment(ignored)) {
    const std::string name = it->path().filename().string();
    if (name.compare(0, kPrefix.size(), kPrefix) != 0) continue;
    newest = std::max<int64_t>(newest, std::strtoll(name.c_str() + kPrefix.size(), nullptr, 10));
  }
  return newest;
}

}  // namespace

namespace tensorboard {

std::string frame(std::string_view event) {
  const auto masked = [](std::string_view bytes) {
    const uint32_t crc = crc32c(bytes);
    return std::rotr(crc, 15) + 0xA282EAD8u;
  };
  std::string out;
  put_little_endian<uint64_t>(out, event.size());
  put_little_endian(out, masked(out));
  out += event;
  put_little_endian(out, masked(event));
  return out;
}

std::string version_event(double wall_time_s) { return open_event(wall_time_s, 0).bytes(3, "brain.Event:2").done(); }

std::string start_event(double wall_time_s, int64_t step) {
  return open_event(wall_time_s, step).bytes(7, Message().varint(1, 1).done()).done();  // SessionLog.status = START
}

std::string scalars_event(double wall_time_s, int64_t step, std::span<const std::pair<std::string, double>> scalars) {
  Message summary;
  for (const auto& [tag, value] : scalars) {
    summary.bytes(kSummaryValue, Message().bytes(1, tag).fixed32(2, static_cast<float>(value)).done());
  }
  return open_event(wall_time_s, step).bytes(kSummary, summary.done()).done();
}

std::string text_event(double wall_time_s, int64_t step, std::string_view tag, std::string_view markdown) {
  constexpr uint64_t kStringType = 7, kTensorClass = 2;
  const Message dimension = Message().varint(1, 1);
  const Message tensor = Message().varint(1, kStringType).bytes(2, Message().bytes(2, dimension.done()).done());
  const Message plugin = Message().bytes(1, "text");
  const Message value = Message()
                            .bytes(1, tag)
                            .bytes(8, Message(tensor).bytes(8, markdown).done())
                            .bytes(9, Message().bytes(1, plugin.done()).varint(4, kTensorClass).done());
  return open_event(wall_time_s, step).bytes(kSummary, Message().bytes(kSummaryValue, value.done()).done()).done();
}

}  // namespace tensorboard

Result<TensorboardWriter> TensorboardWriter::open(const std::string& folder, int64_t from_step) {
  TL_TRY_STATUS(make_directories(folder));
  const double now = now_s();
  const int64_t second = std::max(static_cast<int64_t>(now), newest_second(folder) + 1);
  std::string digits = std::to_string(second);
  digits.insert(0, digits.size() < 10 ? 10 - digits.size() : 0, '0');
  const std::string name = "events.out.tfevents." + digits + "." + host_name() + "." + std::to_string(::getpid());
  TL_TRY(RecordWriter file, RecordWriter::create(join_path(folder, name)));
  // TensorBoard's Python loader takes a START for a restart only when it is not the first: a new run writes one too.
  TL_TRY_STATUS(file.write(tensorboard::frame(tensorboard::version_event(now)) +
                           tensorboard::frame(tensorboard::start_event(now, from_step))));
  return TensorboardWriter(std::move(file));
}

Status TensorboardWriter::add_scalars(int64_t step, std::span<const std::pair<std::string, double>> scalars) {
  if (scalars.empty()) return {};
  return file_.write(tensorboard::frame(tensorboard::scalars_event(now_s(), step, scalars)));
}

Status TensorboardWriter::add_text(int64_t step, std::string_view tag, std::string_view markdown) {
  return file_.write(tensorboard::frame(tensorboard::text_event(now_s(), step, tag, markdown)));
}

}  // namespace throughline

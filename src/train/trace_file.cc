#include "train/trace_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace throughline {
namespace {

constexpr size_t kBlock = size_t{1} << 20;

class ReadFile {
 public:
  static Result<ReadFile> open(const std::string& path) {
    ReadFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.fd_ < 0) {
      return Error{std::string("cannot open: ") + std::strerror(errno), path,
                   errno == ENOENT ? "give the folder of a run that has sampled traces" : ""};
    }
    if (::fstat(file.fd_, &file.info_) != 0 || !S_ISREG(file.info_.st_mode)) {
      return Error{"is not a regular file", path, "check the path"};
    }
    return file;
  }
  ReadFile(ReadFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)), info_(other.info_) {}
  ~ReadFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  const struct stat& info() const { return info_; }

  // Up to `bytes` from `offset`; fewer only at the end of the file.
  Result<std::string> read(int64_t offset, size_t bytes, const std::string& path) const {
    std::string out(bytes, '\0');
    size_t have = 0;
    while (have < bytes) {
      const ssize_t n = ::pread(fd_, out.data() + have, bytes - have, offset + static_cast<int64_t>(have));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Error{std::string("cannot read: ") + std::strerror(errno), path, ""};
      if (n == 0) break;
      have += static_cast<size_t>(n);
    }
    out.resize(have);
    return out;
  }

 private:
  explicit ReadFile(int fd) : fd_(fd) {}
  int fd_;
  struct stat info_ {};
};

}  // namespace

Result<TraceFile> TraceFile::open(const std::string& path) {
  TraceFile file(path);
  TL_TRY([[maybe_unused]] const bool changed, file.refresh());
  return file;
}

Result<bool> TraceFile::refresh() {
  TL_TRY(const ReadFile file, ReadFile::open(path_));
  const struct stat& info = file.info();
  bool changed = false;
  if (info.st_dev != device_ || info.st_ino != inode_ || info.st_size < indexed_bytes_) {
    changed = !entries_.empty();
    *this = TraceFile(path_);
    device_ = info.st_dev;
    inode_ = info.st_ino;
  }
  std::string line;  // what of the present line came with earlier blocks
  bool too_long = false;
  int64_t line_from = indexed_bytes_;
  for (int64_t at = indexed_bytes_; at < info.st_size;) {
    TL_TRY(const std::string block, file.read(at, kBlock, path_));
    if (block.empty()) break;  // cut meanwhile
    for (size_t from = 0; from < block.size();) {
      const size_t end = block.find('\n', from);
      const std::string_view part = std::string_view(block).substr(from, std::min(end, block.size()) - from);
      too_long = too_long || line.size() + part.size() > kTraceLineLimit;
      if (!too_long) line += part;
      if (end == std::string::npos) break;
      ++lines_;
      if (too_long) {
        add_bad(where(lines_) + ": is longer than " + std::to_string(kTraceLineLimit >> 20) + " MiB");
      } else {
        add_line(line, line_from);
      }
      changed = true;
      line.clear();
      too_long = false;
      from = end + 1;
      line_from = indexed_bytes_ = at + static_cast<int64_t>(from);
    }
    at += static_cast<int64_t>(block.size());
  }
  return changed;
}

void TraceFile::add_line(std::string_view text, int64_t offset) {
  if (text.find_first_not_of(" \t\r") == std::string_view::npos) return;
  auto summary = parse_trace_summary(text, where(lines_));
  if (!summary.ok()) return add_bad(summary.error().line());
  std::string& prompt = summary->prompt;
  if (prompt.size() > kEntryPromptBytes) {
    size_t end = kEntryPromptBytes;
    while (end > 0 && (static_cast<unsigned char>(prompt[end]) & 0xC0) == 0x80) --end;
    prompt.resize(end);
    prompt.shrink_to_fit();
  }
  entries_.push_back({offset, static_cast<int64_t>(text.size()), lines_, std::move(*summary)});
}

void TraceFile::add_bad(std::string error) {
  if (++bad_lines_ == 1) first_bad_ = std::move(error);
}

std::string TraceFile::skipped() const {
  if (bad_lines_ == 0) return "";
  if (bad_lines_ == 1) return "skipped a bad line: " + first_bad_;
  return "skipped " + std::to_string(bad_lines_) + " bad lines, the first: " + first_bad_;
}

Result<TraceLine> TraceFile::read(const TraceEntry& entry) const {
  TL_TRY(const ReadFile file, ReadFile::open(path_));
  TL_TRY(const std::string text, file.read(entry.offset, static_cast<size_t>(entry.bytes), path_));
  return parse_trace_line(text, where(entry.line));
}

}  // namespace throughline

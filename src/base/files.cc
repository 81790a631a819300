#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace throughline {
namespace {

Error system_error(const std::string& doing, const std::string& path, int error_number) {
  std::string remedy;
  if (error_number == ENOSPC) remedy = "free some disk space and run again";
  if (error_number == ENOENT) remedy = "check the path";
  if (error_number == EACCES) remedy = "check the permissions";
  return Error{doing + ": " + std::strerror(error_number), path, remedy};
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// 0, or errno.
int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

// `may_cut`: the file is ours, so half a write can be taken back.
Status append_or_cut(int fd, const std::string& path, std::string_view bytes, bool may_cut) {
  struct stat before {};
  const bool regular = may_cut && ::fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
  if (const int failure = write_all(fd, bytes)) {
    if (regular && ::ftruncate(fd, before.st_size) != 0) return system_error("cannot cut the half line", path, errno);
    return system_error("cannot write", path, failure);
  }
  return {};
}

void sync_folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const FileDescriptor fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() >= 0) ::fsync(fd.get());  // some file systems refuse; the rename itself has happened
}

// Where the links lead, be it to nothing yet. Of a circle, which leads nowhere: the path itself.
std::string behind_links(const std::string& path) {
  std::filesystem::path at = path;
  std::error_code code;
  for (int links = 0; links < 40; ++links) {
    const auto next = std::filesystem::read_symlink(at, code);
    if (code) return at.string();
    at = at.parent_path() / next;  // an absolute one takes the place of all
  }
  return path;
}

Status write_through(const std::string& path, std::string_view bytes) {
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.get() < 0) return system_error("cannot open", path, errno);
  if (const int failure = write_all(fd.get(), bytes)) return system_error("cannot write", path, failure);
  return {};
}

}  // namespace

Result<std::string> read_file(const std::string& path, size_t limit_bytes) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return system_error("cannot open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_error("cannot stat", path, errno);
  if (S_ISDIR(info.st_mode)) return Error{"is a directory, not a file", path, "check the path"};
  std::string out;
  char buffer[1 << 16];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0) {
      if (errno == EINTR) continue;
      return system_error("cannot read", path, errno);
    }
    if (n == 0) return out;
    if (out.size() + static_cast<size_t>(n) > limit_bytes) {
      return Error{"file is larger than " + std::to_string(limit_bytes) + " bytes", path,
                   "check that it is the right file"};
    }
    out.append(buffer, static_cast<size_t>(n));
  }
}

Status write_atomically(const std::string& given, std::string_view bytes) {
  if (is_stream(given)) return write_through(given, bytes);
  const std::string path = behind_links(given);
  const std::string temporary = path + ".tmp." + std::to_string(::getpid());
  {
    const FileDescriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (fd.get() < 0) return system_error("cannot create", temporary, errno);
    int failure = write_all(fd.get(), bytes);
    if (failure == 0 && ::fsync(fd.get()) != 0) failure = errno;
    if (failure != 0) {
      ::unlink(temporary.c_str());
      return system_error("cannot write", path, failure);
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int failure = errno;
    ::unlink(temporary.c_str());
    return system_error("cannot rename into place", path, failure);
  }
  sync_folder_of(path);
  return {};
}

Status make_directories(const std::string& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) return system_error("cannot create the folder", path, code.value());
  return {};
}

bool file_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0 && !is_directory(path); }

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool is_stream(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

std::string join_path(std::string_view folder, std::string_view name) {
  std::string out(folder);
  if (!out.empty() && out.back() != '/') out += '/';
  return out.append(name);
}

MappedFile::MappedFile(std::string path, const std::byte* data, size_t size)
    : path_(std::move(path)), data_(data), size_(size) {}

MappedFile::~MappedFile() {
  if (size_ > 0) ::munmap(const_cast<std::byte*>(data_), size_);
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return system_error("cannot open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_error("cannot stat", path, errno);
  if (!S_ISREG(info.st_mode)) return Error{"is not a regular file", path, "check the path"};
  const auto size = static_cast<size_t>(info.st_size);
  const std::byte* data = nullptr;
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (address == MAP_FAILED) return system_error("cannot map", path, errno);
    data = static_cast<const std::byte*>(address);
    ::madvise(address, size, MADV_HUGEPAGE);  // what is read from disk through this map is cached in huge pages
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, data, size));
}

Result<LineWriter> LineWriter::append(const std::string& path) {
  if (path == "-") return LineWriter("standard output", STDOUT_FILENO, false);
  // A pipe that is open for reading as well would not wait for its reader and lose what it holds with its writer.
  const int access = is_stream(path) ? O_WRONLY : O_RDWR | O_CREAT;
  FileDescriptor fd(::open(path.c_str(), access | O_APPEND | O_CLOEXEC, 0644));
  if (fd.get() < 0) return system_error("cannot open for appending", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_error("cannot stat", path, errno);
  if (S_ISREG(info.st_mode)) {
    // A killed writer leaves at most one line without its newline, at the end.
    off_t end = info.st_size;
    char c = '\n';
    while (end > 0 && ::pread(fd.get(), &c, 1, end - 1) == 1 && c != '\n') --end;
    if (end != info.st_size && ::ftruncate(fd.get(), end) != 0)
      return system_error("cannot cut the half line", path, errno);
  }
  return LineWriter(path, fd.release(), true);
}

LineWriter::LineWriter(LineWriter&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), owns_(std::exchange(other.owns_, false)) {}

LineWriter& LineWriter::operator=(LineWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(owns_, other.owns_);
  return *this;
}

LineWriter::~LineWriter() {
  if (owns_ && fd_ >= 0) ::close(fd_);
}

Status LineWriter::write(std::string_view line) {
  std::string bytes(line);
  bytes += '\n';
  return append_or_cut(fd_, path_, bytes, owns_);
}

Result<RecordWriter> RecordWriter::create(const std::string& path) {
  FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644));
  if (fd.get() < 0) return system_error("cannot create", path, errno);
  return RecordWriter(path, fd.release());
}

RecordWriter::RecordWriter(RecordWriter&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

RecordWriter& RecordWriter::operator=(RecordWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

RecordWriter::~RecordWriter() {
  if (fd_ >= 0) ::close(fd_);
}

Status RecordWriter::write(std::string_view record) { return append_or_cut(fd_, path_, record, /*may_cut=*/true); }

}  // namespace throughline

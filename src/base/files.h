// Files: whole reads with a size limit, read-only memory maps, and writes that survive kill -9 and a full disk.
//
// write_atomically() writes a sibling temporary file, fsyncs it, renames it over the target and fsyncs the folder:
// a reader sees the old bytes or the new ones. A symbolic link keeps pointing to the target; devices and pipes are
// written straight through. LineWriter appends whole lines, each with one write(2) loop;
// RecordWriter does the same for bytes of any kind in a file of its own. Errors name the path and the system's reason.
// Units: bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace throughline {

constexpr size_t kTextFileLimit = size_t{1} << 30;

Result<std::string> read_file(const std::string& path, size_t limit_bytes = kTextFileLimit);
Status write_atomically(const std::string& path, std::string_view bytes);
Status make_directories(const std::string& path);
bool file_exists(const std::string& path);
bool is_directory(const std::string& path);
bool is_stream(const std::string& path);  // a device, pipe or socket: holds nothing to keep or to replace
// "a/" + "b" and "a" + "b" both give "a/b".
std::string join_path(std::string_view folder, std::string_view name);

// A read-only map of a whole file; the bytes stay valid while any copy of the shared_ptr lives.
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  MappedFile(std::string path, const std::byte* data, size_t size);
  std::string path_;
  const std::byte* data_;
  size_t size_;
};

// Appends lines to a file or to standard output ("-"). Not thread-safe.
class LineWriter {
 public:
  // Opens for appending. A last line without its newline (a killed writer's) is cut off first.
  static Result<LineWriter> append(const std::string& path);
  LineWriter(LineWriter&& other) noexcept;
  LineWriter& operator=(LineWriter&& other) noexcept;
  ~LineWriter();
  // Writes line + '\n' completely or reports why not (disk full, closed pipe); after a failure in a file
  // the half line is cut off again.
  Status write(std::string_view line);

 private:
  LineWriter(std::string path, int fd, bool owns) : path_(std::move(path)), fd_(fd), owns_(owns) {}
  std::string path_;
  int fd_ = -1;
  bool owns_ = false;
};

// A new file that grows record by record. Not thread-safe.
class RecordWriter {
 public:
  static Result<RecordWriter> create(const std::string& path);  // an Error where the file exists
  RecordWriter(RecordWriter&& other) noexcept;
  RecordWriter& operator=(RecordWriter&& other) noexcept;
  ~RecordWriter();
  // All of it with one write(2) where the system takes it, so that a killed process leaves whole records; what a
  // failure left half written is cut off again.
  Status write(std::string_view record);
  const std::string& path() const { return path_; }

 private:
  RecordWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_ = -1;
};

}  // namespace throughline

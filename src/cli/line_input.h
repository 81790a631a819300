// Lines of a file or of standard input, with a way to ask whether the next one is there yet.
//
// So a co-process that sends a request and waits for its answer is not waited for in turn. Not thread-safe.
#pragma once

#include <string>

#include "base/result.h"

namespace throughline {

class LineInput {
 public:
  // "-": standard input.
  static Result<LineInput> open(const std::string& path);
  LineInput(LineInput&& other) noexcept;
  LineInput& operator=(LineInput&&) = delete;
  ~LineInput();

  // next() would not wait: a whole line has come, or the end. Never waits itself.
  bool ready();
  // The next line without its newline, waiting for it; false at the end, and when Ctrl-C ends the wait.
  bool next(std::string* line);

 private:
  explicit LineInput(int fd) : fd_(fd) {}
  bool has_line();
  bool read_some();  // false: interrupted

  int fd_;
  std::string buffer_;
  size_t begin_ = 0, searched_ = 0;  // in buffer_: the next line, and up to where it has no newline
  bool end_ = false;
};

}  // namespace throughline

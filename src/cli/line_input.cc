#include "cli/line_input.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/files.h"
#include "cli/interrupt.h"

namespace throughline {

Result<LineInput> LineInput::open(const std::string& path) {
  if (path == "-") return LineInput(STDIN_FILENO);
  if (is_directory(path)) return Error{"is a directory, not a file", path, "give a JSON Lines file"};
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Error{std::string("cannot open: ") + std::strerror(errno), path, "check the path"};
  return LineInput(fd);
}

LineInput::LineInput(LineInput&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      buffer_(std::move(other.buffer_)),
      begin_(other.begin_),
      searched_(other.searched_),
      end_(other.end_) {}

LineInput::~LineInput() {
  if (fd_ > STDIN_FILENO) ::close(fd_);
}

bool LineInput::has_line() {
  searched_ = std::min(buffer_.find('\n', std::max(begin_, searched_)), buffer_.size());
  return searched_ < buffer_.size();
}

bool LineInput::read_some() {
  buffer_.erase(0, begin_);
  searched_ -= begin_;
  begin_ = 0;
  char bytes[1 << 16];
  const ssize_t n = ::read(fd_, bytes, sizeof bytes);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return !interrupted();
  if (n <= 0) end_ = true;
  if (n > 0) buffer_.append(bytes, static_cast<size_t>(n));
  return true;
}

bool LineInput::ready() {
  while (!has_line() && !end_) {
    pollfd input = {.fd = fd_, .events = POLLIN, .revents = 0};
    if (::poll(&input, 1, 0) <= 0 || !read_some()) return false;
  }
  return true;
}

bool LineInput::next(std::string* line) {
  while (!has_line() && !end_) {
    pollfd input = {.fd = fd_, .events = POLLIN, .revents = 0};
    if (interrupted() || (::poll(&input, 1, -1) > 0 && !read_some())) return false;
  }
  if (begin_ == buffer_.size()) return false;
  line->assign(buffer_, begin_, searched_ - begin_);
  begin_ = std::min(searched_ + 1, buffer_.size());
  searched_ = begin_;
  return true;
}

}  // namespace throughline

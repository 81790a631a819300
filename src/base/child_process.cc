#include "base/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

extern char** environ;

namespace throughline {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kGraceMilliseconds = 2000;

}  // namespace

ChildProcess::ChildProcess(ChildProcess&& other) noexcept { *this = std::move(other); }

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(pid_, other.pid_);
  std::swap(in_, other.in_);
  std::swap(out_, other.out_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

ChildProcess::~ChildProcess() { finish(); }

Result<ChildProcess> ChildProcess::start(const std::vector<std::string>& argv, const std::string& error_file) {
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) != 0) return Error{std::strerror(errno), "a pipe", "close other programs"};
  if (pipe2(out, O_CLOEXEC) != 0) {
    close(in[0]), close(in[1]);
    return Error{std::strerror(errno), "a pipe", "close other programs"};
  }
  std::signal(SIGPIPE, SIG_IGN);  // writing to a child that has ended is an error to report, not this process's end
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, error_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t defaults;  // what this program ignores, the other may not expect to be ignored
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  ChildProcess child;
  child.name_ = argv.front();
  const int failed = posix_spawnp(&child.pid_, arguments[0], &files, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  close(in[0]), close(out[1]);
  child.in_ = in[1], child.out_ = out[0];
  if (failed != 0) {
    child.pid_ = -1;
    return Error{std::string("cannot be started: ") + std::strerror(failed), child.name_, "check the path"};
  }
  return child;
}

Status ChildProcess::write_line(const std::string& line) {
  const std::string text = line + '\n';
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = ::write(in_, text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error{"does not listen any more", name_, "see its standard error"};
    at += static_cast<size_t>(n);
  }
  return {};
}

Result<std::string> ChildProcess::read_line(double seconds) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (true) {
    if (const size_t newline = buffer_.find('\n'); newline != std::string::npos) {
      std::string line = buffer_.substr(0, newline);
      buffer_.erase(0, newline + 1);
      return line;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return Error{"gave no answer in time", name_, "see its standard error"};
    pollfd ready{out_, POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(std::min<int64_t>(left, 1000))) <= 0) continue;
    char bytes[4096];
    const ssize_t n = ::read(out_, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error{"ended without an answer", name_, "see its standard error"};
    buffer_.append(bytes, static_cast<size_t>(n));
  }
}

void ChildProcess::stop() {
  if (pid_ > 0) kill(-pid_, SIGSTOP);
}

void ChildProcess::go_on() {
  if (pid_ > 0) kill(-pid_, SIGCONT);
}

void ChildProcess::finish() {
  if (in_ >= 0) close(std::exchange(in_, -1));
  if (out_ >= 0) close(std::exchange(out_, -1));
  if (pid_ <= 0) return;
  go_on();
  for (int waited = 0; waited < kGraceMilliseconds; waited += 20) {
    if (waitpid(pid_, nullptr, WNOHANG) != 0) {
      pid_ = -1;
      return;
    }
    usleep(20000);
  }
  kill(-pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace throughline

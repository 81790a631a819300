#include "cli/raw_terminal.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "cli/interrupt.h"

namespace throughline {
namespace {

constexpr const char* kEnter = "\033[?1049h\033[?25l\033[2J";
constexpr const char* kLeave = "\033[?25h\033[?1049l";
constexpr int kEscapeWait_ms = 30;  // a terminal sends a key's bytes together; over a slow line they may come apart

const termios* volatile mode_before = nullptr;  // for the handlers; null: nothing to restore
volatile std::sig_atomic_t stop_asked = 0;

void on_end(int signal) {  // only calls that are safe in a handler
  const int error_before = errno;
  if (const termios* mode = mode_before) {
    ::tcsetattr(STDIN_FILENO, TCSANOW, mode);
    if (::write(STDOUT_FILENO, kLeave, std::strlen(kLeave)) < 0) errno = error_before;
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void on_stop(int) { stop_asked = 1; }
void on_resize(int) {}  // ends the wait for keys

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;  // without SA_RESTART: poll returns
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

RawTerminal::RawTerminal() {
  ::tcgetattr(STDIN_FILENO, &before_);
  enter();
  handle(SIGHUP, on_end);
  handle(SIGQUIT, on_end);
  handle(SIGTSTP, on_stop);
  handle(SIGWINCH, on_resize);
}

RawTerminal::~RawTerminal() {
  for (const int signal : {SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH}) std::signal(signal, SIG_DFL);
  leave();
}

void RawTerminal::enter() {
  mode_before = &before_;
  restore_on_kill(kLeave, &before_);
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);  // ISIG stays: Ctrl-C, Ctrl-Z, Ctrl-\ are signals
  raw.c_iflag &= ~static_cast<tcflag_t>(IXON | ICRNL);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  std::fputs(kEnter, stdout);
  std::fflush(stdout);
}

void RawTerminal::leave() {
  std::fputs(kLeave, stdout);
  std::fflush(stdout);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  restore_on_kill("");
  mode_before = nullptr;
}

bool RawTerminal::wait_for_input(int timeout_ms) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return ::poll(&input, 1, timeout_ms) > 0;
}

std::vector<KeyPress> RawTerminal::keys(int timeout_ms) {
  if (stop_asked != 0) {
    stop_asked = 0;
    leave();
    std::raise(SIGSTOP);  // until fg
    enter();
    return {};
  }
  if (!wait_for_input(timeout_ms)) return {};
  char bytes[256];
  const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof bytes);
  if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) closed_ = true;  // poll said there is something
  if (count > 0) pending_.append(bytes, static_cast<size_t>(count));
  std::vector<KeyPress> out = take_keys(pending_, /*final=*/false);
  if (!pending_.empty() && !wait_for_input(kEscapeWait_ms)) {
    for (KeyPress& key : take_keys(pending_, /*final=*/true)) out.push_back(std::move(key));
  }
  return out;
}

// Lines are erased before they are written: after a letter in the last column, erasing would take that letter. All at
// once where the terminal knows how (mode 2026); others pass over that.
void RawTerminal::draw(const std::string& frame) {
  std::string out = "\033[?2026h\033[H\033[K";
  for (const char c : frame) {
    if (c == '\n') {
      out += "\r\n\033[K";
    } else {
      out += c;
    }
  }
  out += "\033[?2026l";
  std::fwrite(out.data(), 1, out.size(), stdout);
  std::fflush(stdout);
}

}  // namespace throughline

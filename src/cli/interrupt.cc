#include "cli/interrupt.h"

#include <unistd.h>

#include <csignal>
#include <cstring>

namespace throughline {
namespace {

volatile std::sig_atomic_t asked = 0, nothing_to_finish = 0;
const char* volatile restore = "";
const termios* volatile restore_mode = nullptr;

void on_signal(int signal) {
  if (asked || nothing_to_finish) {
    const char* const text = restore;  // all of this is safe in a handler
    if (const termios* const mode = restore_mode) ::tcsetattr(STDIN_FILENO, TCSANOW, mode);
    if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  asked = 1;
}

}  // namespace

void watch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;  // without SA_RESTART: a blocked read returns
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a closed output is an error of the write, with a message
  std::signal(SIGXFSZ, SIG_IGN);  // so is a file that may not grow (ulimit -f)
}

void watch_hangup() {
  struct sigaction action {};
  ::sigaction(SIGHUP, nullptr, &action);
  if (action.sa_handler == SIG_IGN) return;    // nohup
  action.sa_handler = [](int) { asked = 1; };  // a closing terminal may send several: none of them is the second
  action.sa_flags = 0;
  ::sigaction(SIGHUP, &action, nullptr);
}

void restore_on_kill(const char* text, const termios* mode) {
  restore = text;
  restore_mode = mode;
}

EndAtFirstInterrupt::EndAtFirstInterrupt() { nothing_to_finish = 1; }
EndAtFirstInterrupt::~EndAtFirstInterrupt() { nothing_to_finish = 0; }

bool interrupted() { return asked != 0; }

}  // namespace throughline

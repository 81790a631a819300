#include "cli/interrupt.h"

#include <csignal>

namespace throughline {
namespace {

volatile std::sig_atomic_t asked = 0;

void on_signal(int signal) {
  if (asked) {
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
}

bool interrupted() { return asked != 0; }

}  // namespace throughline

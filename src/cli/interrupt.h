// Ctrl-C and SIGTERM as a flag: the first asks the command to finish what it is writing and stop, the second ends the
// process.
#pragma once

#include <termios.h>

namespace throughline {

void watch_interrupts();
void watch_hangup();  // SIGHUP as well, unless it is ignored
bool interrupted();
// Before the second signal ends the process: `text`, a literal that sets the terminal right again, is written to
// standard error, and standard input's terminal gets `mode` back (null: it was not changed). `mode` must live until the
// next call.
void restore_on_kill(const char* text, const termios* mode = nullptr);
// While one lives the first signal ends the process: for a wait that nobody can break off, with nothing to finish.
struct EndAtFirstInterrupt {
  EndAtFirstInterrupt();
  ~EndAtFirstInterrupt();
  EndAtFirstInterrupt(const EndAtFirstInterrupt&) = delete;
  EndAtFirstInterrupt& operator=(const EndAtFirstInterrupt&) = delete;
};
constexpr int kInterruptedExit = 130;

}  // namespace throughline

// The whole terminal for a view with keys: other screen, no echo, keys as they are pressed. Whatever ends or stops the
// program, the terminal is as it was before: at the end of the object, at SIGINT or SIGTERM (interrupted() is set, and
// the second one ends the process), at SIGHUP and SIGQUIT, and while it is stopped (Ctrl-Z, kill -TSTP).
#pragma once

#include <termios.h>

#include <string>
#include <vector>

#include "cli/keys.h"

namespace throughline {

class RawTerminal {
 public:
  RawTerminal();  // one at a time. REQUIRES: standard input and output are a terminal
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  // Waits for keys, at most `timeout_ms`. Returns earlier, perhaps without keys, when the window was resized or the
  // program went on after a stop.
  std::vector<KeyPress> keys(int timeout_ms);
  bool closed() const { return closed_; }  // no more keys will come

  // One frame, from the upper left corner: lines joined by '\n', each at most as wide as the terminal.
  void draw(const std::string& frame);

 private:
  void enter();
  void leave();
  bool wait_for_input(int timeout_ms);

  termios before_{};
  std::string pending_;  // bytes that are no whole key yet
  bool closed_ = false;
};

}  // namespace throughline

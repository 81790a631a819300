// Ctrl-C and SIGTERM as a flag: the first asks the command to finish what it is writing and stop, the second ends the
// process.
#pragma once

namespace throughline {

void watch_interrupts();
bool interrupted();
// Written to standard error before the second signal ends the process: what sets the terminal right again. A literal.
void restore_on_kill(const char* text);
constexpr int kInterruptedExit = 130;

}  // namespace throughline

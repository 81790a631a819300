// Ctrl-C and SIGTERM as a flag: the first asks the command to finish what it is writing and stop, the second ends the
// process.
#pragma once

namespace throughline {

void watch_interrupts();
bool interrupted();
constexpr int kInterruptedExit = 130;

}  // namespace throughline

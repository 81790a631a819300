// A program run beside this one that is talked to in lines over its standard input and output. Its standard error goes
// to a file. Ends with its object: killed when it does not go by itself. Starting one makes this process ignore
// SIGPIPE. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace throughline {

class ChildProcess {
 public:
  // argv[0] is looked up in PATH when it holds no slash. Its own process group, so that a Ctrl-C is ours to handle.
  static Result<ChildProcess> start(const std::vector<std::string>& argv, const std::string& error_file);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  Status write_line(const std::string& line);
  // The next line without its end. Errors: the program ended, or said nothing for `seconds`.
  Result<std::string> read_line(double seconds);
  void stop();    // SIGSTOP: it keeps its memory and leaves the processors alone
  void go_on();   // SIGCONT
  void finish();  // closes its input, waits a moment, kills what is left

 private:
  ChildProcess() = default;
  std::string name_;
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
  std::string buffer_;  // read, not yet asked for
};

}  // namespace throughline

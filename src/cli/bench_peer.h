// Another engine, run beside us and told what to do over the protocol of bench_worker.h. It is stopped (SIGSTOP) while
// it has no turn. An error ends its part; its standard error is in `error_file`.
#pragma once

#include <string>
#include <vector>

#include "base/child_process.h"
#include "base/json.h"
#include "base/result.h"

namespace throughline {

class BenchPeer {
 public:
  // Waits until it stands ready for `order`. `name` is for errors.
  static Result<BenchPeer> start(const std::string& name, const std::vector<std::string>& command,
                                 const std::string& error_file, const Json& order, double ready_seconds);
  Result<double> run();   // a timed run's seconds
  Result<Json> finish();  // its last words

 private:
  BenchPeer(std::string name, ChildProcess child) : name_(std::move(name)), child_(std::move(child)) {}
  Result<Json> ask(const std::string& line, double seconds);

  std::string name_;
  ChildProcess child_;
};

}  // namespace throughline

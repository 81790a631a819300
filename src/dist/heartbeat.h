// Who of the group is alive. Each rank posts a note about itself on a board that all can read (the rendezvous store)
// about once a second, and reads the others'; a note that stays unchanged for lost_after_s means a lost rank. The first
// who finds out posts the failure, so all name the same rank. No clocks are compared between machines.
//
// Two threads: one talks to the board and may hang with it (its host frozen), one watches the clock and so sees that
// too. Knows nothing of c10d: the board is an interface. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"

namespace throughline {

// Errors of a board mean that it is gone for good.
class Board {
 public:
  virtual ~Board() = default;
  virtual Status post(const std::string& key, const std::string& note) = 0;
  virtual Result<std::vector<std::string>> read(const std::vector<std::string>& keys) = 0;  // REQUIRES: all were posted
  // Posts if `key` still has the note `before`; returns what stands now.
  virtual Result<std::string> exchange(const std::string& key, const std::string& before, const std::string& note) = 0;
};

struct HeartbeatOptions {
  int rank = 0;
  int world = 1;
  double lost_after_s = 60;
  std::string board_host;                     // "rank 0" or "torchrun's agent": named when the board is gone
  std::function<void(const Error&)> on_lost;  // see ProcessGroupOptions
  double beat_s() const;                      // between two notes: 1 s, or less when lost_after_s is short
};

class Heartbeat {
 public:
  static std::string rank_key(int rank);
  static constexpr const char* kFailureKey = "failure";
  static constexpr const char* kNoFailure = "-";
  static constexpr const char* kFirstNote = "here";

  // REQUIRES: each rank_key holds kFirstNote and kFailureKey holds kNoFailure.
  Heartbeat(std::unique_ptr<Board> board, HeartbeatOptions options);
  ~Heartbeat();

  // This rank goes into, and comes out of, call number `call` of the group. A call that reports a failure does not come
  // out: the caller knows, and on_lost stays silent.
  void enter_call(int64_t call, const std::string& name);
  void leave_call();

  std::optional<Error> failure() const;
  // A connection to some rank broke: finds out within a few beats which rank is gone and posts it.
  Error explain_break(const std::string& text);
  // The alive ranks that have not come to this call.
  std::string ranks_behind(int64_t call) const;
  // This rank fails, or found a failure by itself: tells the others. on_lost is not called any more.
  void post_failure(const std::string& what);
  // No note follows and none is missed. Returns when every rank has left, or a failure is known, or after wait_s.
  void leave(double wait_s);

 private:
  using Clock = std::chrono::steady_clock;
  struct State;

  static void talk(std::shared_ptr<State> state);  // the board thread
  static void watch(std::shared_ptr<State> state);

  std::shared_ptr<State> state_;  // outlives a board thread that hangs
  std::thread watcher_;
};

}  // namespace throughline

#include "dist/heartbeat.h"

#include <algorithm>

namespace throughline {
namespace {

constexpr const char* kLeft = "left";

std::string seconds(double s) {
  const int64_t tenths = std::max<int64_t>(1, static_cast<int64_t>(s * 10 + 0.5));
  return std::to_string(tenths / 10) + (tenths % 10 ? "." + std::to_string(tenths % 10) : "") + " s";
}

struct Peer {
  std::string note;
  std::chrono::steady_clock::time_point changed;
  int64_t call = 0;
  std::string doing;  // "all_reduce 17" or "after all_reduce 17"
  bool left = false;
};

// "beat|call|doing"
void take_note(Peer& peer, const std::string& note, std::chrono::steady_clock::time_point now) {
  if (note == peer.note) return;
  peer.note = note;
  peer.changed = now;
  peer.left = note == kLeft;
  const size_t first = note.find('|');
  const size_t second = first == std::string::npos ? first : note.find('|', first + 1);
  if (second == std::string::npos) return;
  peer.call = std::atoll(note.c_str() + first + 1);
  peer.doing = note.substr(second + 1);
}

}  // namespace

double HeartbeatOptions::beat_s() const { return std::min(1.0, lost_after_s / 10); }

struct Heartbeat::State {
  HeartbeatOptions options;
  std::unique_ptr<Board> board;  // only the board thread calls it, but for its construction

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::vector<Peer> peers;
  Clock::time_point answered = Clock::now();  // the board's last answer
  bool board_gone = false;
  std::string to_post;  // a failure this rank wants posted
  std::optional<Error> failure;
  bool in_call = false;
  bool suspicious = false;  // peers are judged by a few beats, not by lost_after_s
  bool leaving = false;
  bool left = false;  // our last note is on the board
  bool stop = false;
  bool talking = true;  // the board thread runs
  int64_t call = 0;
  std::string doing = "start";
  int64_t beat = 0;

  bool all_left() const {
    for (int r = 0; r < options.world; ++r) {
      if (r != options.rank && !peers[r].left) return false;
    }
    return true;
  }

  Error error(const std::string& what) const {
    return {what, "rank " + std::to_string(options.rank) + " of " + std::to_string(options.world),
            "see that rank's own output; then start all again with --resume"};
  }

  void set_failure(const std::string& what) {
    if (!failure) failure = error(what);
    changed.notify_all();
  }

  // The silent rank that was silent longest, if any.
  std::string silence(Clock::time_point now) const {
    const double limit_s = suspicious ? 3 * options.beat_s() : options.lost_after_s;
    int lost = -1;
    for (int r = 0; r < options.world; ++r) {
      if (r == options.rank || peers[r].left) continue;
      if (std::chrono::duration<double>(answered - peers[r].changed).count() < limit_s) continue;
      if (lost < 0 || peers[r].changed < peers[lost].changed) lost = r;
    }
    if (lost < 0) return "";
    const double silent_s = std::chrono::duration<double>(now - peers[lost].changed).count();
    return "rank " + std::to_string(lost) + " is lost: " + (suspicious ? "its connection broke and it gave " : "") +
           "no sign of life for " + seconds(silent_s) +
           (peers[lost].doing.empty() ? "" : " (last seen: " + peers[lost].doing + ")");
  }

  std::string board_lost(const std::string& how) const {
    return (options.board_host.empty() ? "rank 0" : options.board_host) + " is lost: the rendezvous it hosts " + how;
  }
};

std::string Heartbeat::rank_key(int rank) { return "rank/" + std::to_string(rank); }

Heartbeat::Heartbeat(std::unique_ptr<Board> board, HeartbeatOptions options) : state_(std::make_shared<State>()) {
  state_->options = std::move(options);
  state_->board = std::move(board);
  state_->peers.resize(state_->options.world);
  for (Peer& peer : state_->peers) take_note(peer, kFirstNote, Clock::now());
  std::thread(&Heartbeat::talk, state_).detach();  // may hang with the board; it owns its share of the state
  watcher_ = std::thread(&Heartbeat::watch, state_);
}

Heartbeat::~Heartbeat() {
  {
    std::unique_lock lock(state_->mutex);
    state_->stop = true;
    state_->changed.notify_all();
    // The board's sockets should not close while a thread uses them; a hanging one is given up.
    state_->changed.wait_for(lock, std::chrono::seconds(2), [&] { return !state_->talking; });
  }
  watcher_.join();
}

void Heartbeat::talk(std::shared_ptr<State> state) {
  const HeartbeatOptions& options = state->options;
  const auto beat = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.beat_s()));
  std::vector<std::string> keys = {kFailureKey};
  for (int r = 0; r < options.world; ++r) keys.push_back(rank_key(r));
  std::unique_lock lock(state->mutex);
  while (!state->stop) {
    const std::string mine = state->leaving ? kLeft
                                            : std::to_string(++state->beat) + "|" + std::to_string(state->call) + "|" +
                                                  (state->in_call ? "" : "after ") + state->doing;
    const std::string failure = state->to_post;
    state->to_post.clear();
    lock.unlock();
    if (!failure.empty()) (void)state->board->exchange(kFailureKey, kNoFailure, failure);
    const Status posted = state->board->post(rank_key(options.rank), mine);
    const auto notes = state->board->read(keys);
    lock.lock();
    const auto now = Clock::now();
    if (!posted.ok() || !notes.ok()) {
      state->board_gone = true;
      break;
    }
    state->answered = now;
    if (mine == kLeft) state->left = true;
    for (int r = 0; r < options.world; ++r) take_note(state->peers[r], (*notes)[r + 1], now);
    if ((*notes)[0] != kNoFailure) state->set_failure((*notes)[0]);
    state->changed.notify_all();
    const auto pause = state->leaving ? Clock::duration(std::chrono::milliseconds(20)) : beat;
    state->changed.wait_for(lock, pause,
                            [&] { return state->stop || !state->to_post.empty() || (state->leaving && !state->left); });
  }
  state->talking = false;
  state->changed.notify_all();
}

void Heartbeat::watch(std::shared_ptr<State> state) {
  const HeartbeatOptions& options = state->options;
  const auto tick = std::chrono::duration<double>(options.beat_s() / 2);
  std::optional<Clock::time_point> failed_at;
  std::unique_lock lock(state->mutex);
  while (!state->stop) {
    const auto now = Clock::now();
    if (!state->failure && !state->leaving) {
      const std::string silent = state->silence(now);
      if (state->board_gone) {
        state->set_failure(state->board_lost("is gone"));
      } else if (std::chrono::duration<double>(now - state->answered).count() > options.lost_after_s) {
        state->set_failure(state->board_lost("has not answered for " + seconds(options.lost_after_s)));
      } else if (!silent.empty()) {
        state->to_post = silent;  // the board thread posts it and brings back whose word stands
        state->changed.notify_all();
      }
    }
    if (state->failure && !failed_at) failed_at = now;
    // A call in progress returns the failure by itself; one that does not within a beat is not there.
    if (failed_at && options.on_lost && !state->in_call && !state->leaving &&
        std::chrono::duration<double>(now - *failed_at).count() > options.beat_s()) {
      const Error error = *state->failure;
      lock.unlock();
      options.on_lost(error);
      return;
    }
    state->changed.wait_for(lock, tick, [&] { return state->stop; });
  }
}

void Heartbeat::enter_call(int64_t call, const std::string& name) {
  std::lock_guard lock(state_->mutex);
  state_->call = call;
  state_->doing = name + " " + std::to_string(call);
  state_->in_call = true;
}

void Heartbeat::leave_call() {
  std::lock_guard lock(state_->mutex);
  state_->in_call = false;
}

std::optional<Error> Heartbeat::failure() const {
  std::lock_guard lock(state_->mutex);
  return state_->failure;
}

Error Heartbeat::explain_break(const std::string& text) {
  std::unique_lock lock(state_->mutex);
  state_->suspicious = true;
  const auto patience = std::chrono::duration<double>(6 * state_->options.beat_s() + 1);
  state_->changed.wait_for(lock, patience, [&] { return state_->failure.has_value(); });
  if (!state_->failure) {
    state_->to_post = "rank " + std::to_string(state_->options.rank) +
                      " lost a connection, though every rank gives signs of life: " + text;
    state_->changed.notify_all();
    state_->changed.wait_for(lock, std::chrono::duration<double>(2 * state_->options.beat_s()),
                             [&] { return state_->failure.has_value(); });
  }
  return state_->failure ? *state_->failure : state_->error("a connection broke: " + text);
}

std::string Heartbeat::ranks_behind(int64_t call) const {
  std::lock_guard lock(state_->mutex);
  std::string behind;
  for (int r = 0; r < state_->options.world; ++r) {
    const Peer& peer = state_->peers[r];
    if (r == state_->options.rank || peer.call >= call) continue;
    behind += (behind.empty() ? "" : ", ") + std::string("rank ") + std::to_string(r) + " (" +
              (peer.left ? "left" : peer.doing) + ")";
  }
  return behind;
}

void Heartbeat::post_failure(const std::string& what) {
  std::unique_lock lock(state_->mutex);
  state_->in_call = true;
  if (state_->failure) return;
  state_->to_post = what;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, std::chrono::duration<double>(3 * state_->options.beat_s() + 1),
                           [&] { return state_->failure || state_->board_gone; });
  state_->set_failure(what);
}

void Heartbeat::leave(double wait_s) {
  std::unique_lock lock(state_->mutex);
  state_->leaving = true;
  state_->changed.notify_all();
  const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(wait_s));
  state_->changed.wait_until(
      lock, until, [&] { return state_->board_gone || state_->failure || (state_->left && state_->all_left()); });
}

}  // namespace throughline

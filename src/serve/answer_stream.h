// What the engine's thread leaves for the connection that writes an answer: a mailbox for all samples of one request.
//
// The engine's side never waits: news are appended under a short lock, and the wake-up is called without it, at most
// once until the mailbox has been emptied. A reader that does not come costs what the request may generate, not more.
// The reader's side takes everything at once. Two sides, any threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "engine/request.h"

namespace throughline::serve {

struct Metrics;

struct TokenNews {
  TokenDraw draw;
  bool ending = false;  // the EOS or stop id that ended the sample: no text
};
struct ChunkNews {
  int64_t chunk = 0, at_token = 0;
  std::vector<int32_t> prompt_ids;
};
struct KvNews {
  int64_t chunk = 0, at_token = 0;
  EvictionRecord record;
};
using News =
    std::variant<TokenNews, std::unique_ptr<ChunkNews>, std::unique_ptr<KvNews>, std::unique_ptr<SampleResult>>;

// Numbers of one sample as they are now.
struct SampleView {
  bool queued = true, finished = false, thinking = false;
  int64_t chunk = 0, tokens = 0, reasoning_tokens = 0, kv_tokens = 0, context_tokens = 0;
};

class AnswerStream {
 public:
  struct Options {
    int64_t samples = 1;                     // of all prompts
    bool live = false;                       // news as they come about; else all of a sample's at its end
    bool logprobs = false;                   // with the tokens
    bool chunks = false, kv_events = false;  // news of these kinds too
    Metrics* metrics = nullptr;              // may be null
    std::string kv_method, think_method;     // labels of the metrics
    std::function<void(int64_t, const SampleResult&)> on_result;  // on the engine's thread, before it is news
  };
  explicit AnswerStream(Options options);

  // The engine's side; `index` counts the samples of all prompts.
  void on_progress(int64_t index, const SampleProgress& progress);
  void on_finish(int64_t index, SampleResult result);

  // The reader's side.
  void set_wake(std::function<void()> wake);
  struct Letter {
    int64_t index = 0;
    News news;
  };
  std::vector<Letter> take();
  std::vector<SampleView> views() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Place {  // how far a sample's trace has been told
    size_t chunk = 0, token = 0, event = 0;
    int64_t told = 0;
    bool opened = false;
    Clock::time_point last_token;
  };
  void follow(int64_t index, const Trace& trace, std::span<const ChunkKv> closed,
              std::span<const EvictionRecord> events, std::vector<Letter>& out);
  void observe(const SampleResult& result);
  void deliver(int64_t index, const SampleView& view, std::vector<Letter> letters);

  Options options_;
  Clock::time_point began_ = Clock::now();
  std::vector<Place> places_;  // the engine's thread only

  mutable std::mutex mutex_;
  std::vector<Letter> letters_;
  std::vector<SampleView> views_;
  std::function<void()> wake_;
  bool woken_ = false;
};

}  // namespace throughline::serve

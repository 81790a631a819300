// Rollouts: prompts go into the engine, judged traces come out. The engine runs in this process on the trainer's own
// decoder: nothing is exported, and after an update use_weights() is all that is needed.
//
// Any environment, any policy that can be replayed. Draws are counter-based: traces are a pure function of (weights,
// items, seed), whatever the batch. What is graded is the text after the trace's </think>, wherever it fell, or the
// whole text of a model without thinking tags; thinking that never closed has no answer.
// start() samples in a thread of this class; all calls come from one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "dist/process_group.h"
#include "engine/engine.h"
#include "train/train_items.h"
#include "train/train_model.h"

namespace throughline {

struct Rollout {
  int64_t group = 0, sample = 0;  // which of the items, which of its samples
  SampleResult result;
  std::string answer;  // the graded text
  TaskVerdict verdict = TaskVerdict::kNoAnswer;
  bool truncated = false;  // a limit ended it
};

struct RolloutOptions {
  RolloutSection section;
  bool exact = false;
};

class RolloutEngine {
 public:
  // `model` and `group` must outlive this.
  static Result<std::unique_ptr<RolloutEngine>> create(const TrainModel* model, const RolloutOptions& options,
                                                       ProcessGroup* group);
  ~RolloutEngine();  // what start() began is given up

  // `samples` traces of each item, in order of (item, sample). Draws are keyed by (seed, place of the item). Process r
  // of n samples items r, r + n, ...; all get all traces. All processes call with the same arguments.
  Result<std::vector<Rollout>> run(const TrainItems& items, std::span<const TrainItem> chosen, int64_t samples,
                                   uint64_t seed, double temperature);
  // run() in two halves: `threads` threads sample while the caller does something else, until take() waits for them.
  // What throws there is thrown by take(). use_weights() may come in between (Engine::use_weights); so may run(), which
  // waits first. REQUIRES: all was taken.
  void start(std::span<const TrainItem> chosen, int64_t samples, uint64_t seed, double temperature, int threads);
  bool started() const { return ahead_ != nullptr; }
  Result<std::vector<Rollout>> take(const TrainItems& items);
  double sampling_s() const { return sampling_s_; }  // of all that was taken

  void use_weights(const WeightVersion& weights) { engine_->use_weights(weights); }

  const Environment& environment() const { return *environment_; }
  // New tokens that a trace may have at most, for a prompt of so many ids.
  int64_t most_tokens(int64_t prompt_tokens) const;
  // Whether a prompt of so many ids can be sampled, with what the environment carries.
  bool has_room(int64_t prompt_tokens) const;
  int64_t max_context() const { return engine_->max_context(); }
  EngineStats stats() const { return engine_->stats(); }

 private:
  struct Batch {
    std::vector<TrainItem> chosen;
    int64_t samples = 0;
    std::vector<SampleResult> results;  // in order of (item, sample); those of other processes come by exchange()
    Status submitted;
    double seconds = 0;
    std::exception_ptr failure;  // of the thread that sampled it
  };

  RolloutEngine() = default;
  std::unique_ptr<Batch> submit(std::span<const TrainItem> chosen, int64_t samples, uint64_t seed, double temperature);
  Status submit_own(Batch& batch, uint64_t seed, double temperature);
  void sample(Batch& batch);
  void wait();
  Status check(const Batch& batch) const;
  Status exchange(Batch& batch);
  Result<std::vector<Rollout>> finish(const TrainItems& items, Batch& batch);
  Rollout judge(const TrainItems& items, const TrainItem& item, SampleResult result) const;

  const TrainModel* model_ = nullptr;
  ProcessGroup* group_ = nullptr;
  RolloutOptions options_;
  std::shared_ptr<const Environment> environment_;
  std::shared_ptr<const EvictionPolicy> policy_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Batch> ahead_;
  std::thread thread_;  // samples ahead_
  std::atomic<bool> give_up_ = false;
  double sampling_s_ = 0;
};

}  // namespace throughline

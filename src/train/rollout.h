// Rollouts: prompts go into the engine, judged traces come out. The engine runs in this process on the trainer's own
// decoder: nothing is exported, and after an update weights_changed() is all that is needed.
//
// Any environment, any policy that can be replayed. Draws are counter-based: traces are a pure function of (weights,
// items, seed), whatever the batch. What is graded is the text after the trace's </think>, wherever it fell, or the
// whole text of a model without thinking tags; thinking that never closed has no answer. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
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

  // `samples` traces of each item, in order of (item, sample). Draws are keyed by (seed, place of the item). Process r
  // of n samples items r, r + n, ...; all get all traces. All processes call with the same arguments.
  Result<std::vector<Rollout>> run(const TrainItems& items, std::span<const TrainItem> chosen, int64_t samples,
                                   uint64_t seed, double temperature);
  void weights_changed(int64_t version) { engine_->weights_changed(version); }

  const Environment& environment() const { return *environment_; }
  // New tokens that a trace may have at most, for a prompt of so many ids.
  int64_t most_tokens(int64_t prompt_tokens) const;
  EngineStats stats() const { return engine_->stats(); }

 private:
  RolloutEngine() = default;
  Status sample_own(std::span<const TrainItem> chosen, int64_t samples, uint64_t seed, double temperature,
                    std::vector<SampleResult>& out);
  Status exchange(std::vector<SampleResult>& results, int64_t samples);
  Rollout finish(const TrainItems& items, const TrainItem& item, SampleResult result) const;

  const TrainModel* model_ = nullptr;
  ProcessGroup* group_ = nullptr;
  RolloutOptions options_;
  std::shared_ptr<const Environment> environment_;
  std::shared_ptr<const EvictionPolicy> policy_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace throughline

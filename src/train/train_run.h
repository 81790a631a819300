// A training run from its recipe to its last checkpoint: SFT or GRPO, new or resumed.
//
// A step is a pure function of the checkpointed state (weights, optimizer, cursor, step): there is no generator to
// save, draws are counter-based. A run that was killed and resumed therefore leaves the files of one that was not, but
// for the times in metrics.jsonl. (With rollout.ahead, time decides which chunks see new weights: it resumes, but not
// to the bit.) Of several processes each samples its share of the items, all get all traces, each
// runs its share of the update (data_parallel.h), rank 0 writes. One thread drives; `stop` is asked between steps.
// Errors leave the last checkpoint as it is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/stopwatch.h"
#include "train/data_parallel.h"
#include "train/recipe.h"
#include "train/rollout.h"
#include "train/run_directory.h"
#include "train/step_metrics.h"
#include "train/train_items.h"
#include "train/train_model.h"
#include "train/update.h"

namespace throughline {

struct TrainOptions {
  Recipe recipe;
  std::string run_dir;
  bool resume = false;
  int64_t max_steps = 0;                            // total of the run; 0: the recipe's
  ProcessGroup* group = nullptr;                    // of several processes, connected; null: one process
  std::function<bool()> stop;                       // asked after each step; may be empty
  std::function<void(const StepMetrics&)> on_step;  // may be empty; called in rank 0
  std::function<void(const std::string&)> say;      // a line for a person: warnings, where things are; rank 0
};

struct TrainSummary {
  int64_t first_step = 1, last_step = 0;  // done by this call; last < first: there was nothing left to do
  bool stopped = false;                   // by `stop`
  std::string checkpoint;                 // the last one written or resumed from
};

Result<TrainSummary> train(const TrainOptions& options);

// What the loops (sft.cc, grpo.cc, evaluation.cc) work on. Members in the order in which they are made.
struct TrainRun {
  Recipe recipe;
  RunDirectory directory;
  TrainModel model;
  TrainItems items, held_out;
  std::unique_ptr<Decoder> reference;  // GRPO with kl > 0
  std::unique_ptr<Trainable> trainable;
  std::unique_ptr<DataParallel> parallel;
  std::unique_ptr<Updater> updater;
  std::unique_ptr<Decoder> behind;  // rollout.ahead: what is sampled from while an update changes the model
  std::unique_ptr<RolloutEngine> rollouts;
  std::function<void(const std::string&)> say;
  std::string checkpoint;  // the last one written or resumed from; empty: none

  int64_t steps = 0;           // of the whole run
  int64_t step = 0;            // the last one done
  int64_t cursor = 0;          // of the next item
  int64_t weight_version = 0;  // optimizer steps done

  ops::NumericMode mode() const { return recipe.run.exact ? ops::NumericMode::kExact : ops::NumericMode::kFast; }
  // The next items; take_items() moves the cursor.
  std::vector<TrainItem> next_items(int64_t count) const;
  std::vector<TrainItem> take_items(int64_t count);
  double learning_rate() const;  // of the next optimizer step
  WeightVersion weights() const { return {model.decoder.get(), weight_version}; }
  // One optimizer step over rows, the same in every process. Counts the weight version; the rollout engine is told
  // after the step's last one. Weights or a loss that are not finite are an Error: nothing after it is worth keeping.
  Result<UpdateStats> update(const std::vector<TrainRow>& rows, const StepTotals& totals);
  // That this step found numbers that are not finite, and what to do about it.
  Error diverged(const std::string& what) const;
  // The micro-batches of this process: those that update() will run here.
  std::vector<MicroBatch> own_batches(const std::vector<TrainRow>& rows) const;
  bool is_first() const { return parallel->group().rank() == 0; }  // writes the run's files
};

// The attention of packed rows with their evictions replayed (train/row_attention.h).
AttentionFactory row_attention_factory(ops::NumericMode mode);

}  // namespace throughline

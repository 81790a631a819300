// A recipe: everything that decides a training run, as a TOML file of sections.
//
// Each section's options are declared once (recipe_sections()): parsing, ranges, errors, `help train` and the tables of
// docs/training.md come from there. Unknown sections and keys are errors that list the known ones. `--set
// section.key=value` overrides; `--set task.0.spec=...` names a task by its place.
// text() is the recipe as used: every option with its value, overrides included; parsing it gives an equal recipe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/spec.h"
#include "train/advantage.h"
#include "train/aggregation.h"
#include "train/schedule.h"
#include "train/token_loss.h"

namespace throughline {

enum class TrainKind { kSft, kGrpo };
std::string_view train_kind_name(TrainKind kind);  // "sft", "grpo"

struct RunSection {
  uint64_t seed = 0;
  int64_t steps = 100;
  bool exact = false;
  int64_t threads = 0;  // 0: all cores
};

struct ModelSection {
  std::string path;    // Hugging Face directory to start from; empty: from scratch, by `config`
  std::string config;  // config.json of a model from scratch, with a character tokenizer
  std::string dtype;   // fp32, bf16; empty: the checkpoint's
  bool checkpoint_layers = false;
};

struct LoraSection {
  int64_t rank = 0;  // 0: off, all weights are trained
  double alpha = 16;
  std::string targets;
};

enum class TaskSplit { kBoth, kTrain, kEvaluation };

constexpr const char* kStandardProfile = "rlvr-strict";
struct TaskSection {
  std::string spec;     // gym task; empty: `file`
  std::string file;     // JSON Lines
  std::string profile;  // verifier of a file's gold answers
  double weight = 1;
  TaskSplit split = TaskSplit::kBoth;
};

struct RolloutSection {
  std::string think, kv;  // specs
  double temperature = 1;
  int64_t max_tokens = 0;  // over all chunks; 0: what environment and context allow
  int64_t batch = 64;
  int64_t kv_memory_bytes = 0;  // 0: what a full batch needs
  int64_t ahead = 0;            // steps that sampling goes on while an update runs
  int64_t ahead_threads = 0;    // of that sampling; 0: half of all
};

struct SftSection {
  int64_t items = 16;
};

enum class OldLogprobs { kTrainer, kSampler };
enum class ZeroVariance { kKeep, kSkip, kResample };

struct GrpoSection {
  int64_t prompts = 8, group = 8, updates = 1;
  AdvantageKind advantage = AdvantageKind::kGroupNorm;
  MismatchCorrection correction = MismatchCorrection::kTruncate;
  AggregationKind aggregation = AggregationKind::kTraceLength;
  OldLogprobs old_logprobs = OldLogprobs::kTrainer;
  ZeroVariance zero_variance = ZeroVariance::kKeep;
  OverlongKind overlong = OverlongKind::kKeep;
  double clip_low = 0.2, clip_high = 0.26, dual_clip = 3;
  double correction_cap = 2;
  int64_t constant_tokens = 0;
  int64_t resample_max = 4;
  double overlong_penalty = 0.5;
  int64_t overlong_soft_tokens = 0;
  double format_share = 0;
  double kl = 0;
  double gap_warning = 0.1;
};

struct OptimizerSection {
  double lr = 1e-5, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0, clip_norm = 1;
  int64_t batch_tokens = 8192;
};

struct ScheduleSection {
  ScheduleKind kind = ScheduleKind::kConstant;
  int64_t warmup = 0;
  double final_share = 0;
};

struct CheckpointSection {
  int64_t every = 50;
  int64_t keep = 0;
};

struct EvaluationSection {
  int64_t every = 0, items = 64, samples = 1;
  uint64_t seed = 1000003;
  double temperature = 1;
};

struct Recipe {
  TrainKind kind = TrainKind::kGrpo;
  RunSection run;
  ModelSection model;
  LoraSection lora;
  std::vector<TaskSection> tasks;
  RolloutSection rollout;
  SftSection sft;
  GrpoSection grpo;
  OptimizerSection optimizer;
  ScheduleSection schedule;
  CheckpointSection checkpoint;
  EvaluationSection evaluation;

  std::vector<Spec> sections;  // as parsed, in the order of recipe_sections(); "task" once a task

  std::string text() const;  // TOML
  // The options in which two recipes differ, as "section.key"; empty: none.
  std::vector<std::string> differences(const Recipe& other) const;
};

// All sections in the order of the docs; "task" is written [[task]] and may come several times.
std::span<const SpecInfo> recipe_sections();

// `overrides` are "section.key=value". Relative paths in a recipe are relative to its folder; text() holds them
// absolute.
Result<Recipe> parse_recipe(TrainKind kind, std::string_view toml, const std::vector<std::string>& overrides,
                            const std::string& where, const std::string& folder = "");
Result<Recipe> load_recipe(TrainKind kind, const std::string& path, const std::vector<std::string>& overrides);

}  // namespace throughline

// A run's folder: what it was told, what each step did, what it can resume from.
//
//   recipe.toml      as used, overrides included
//   metrics.jsonl    one line a step
//   traces.jsonl     one line a rollout
//   checkpoints/     train/checkpoint.h
//   init/            the random weights of a model from scratch
// Lines are whole, written one by one, steps ascending. A run that resumes cuts both files back to its checkpoint's
// step, so that they end as those of a run that never stopped. One process at a time (a lock). Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/result.h"
#include "train/recipe.h"

namespace throughline {

class RunDirectory {
 public:
  // A new run: the folder must not hold a step or a checkpoint of one yet. To resume: it may, and the recipe must be
  // the one it began with, but for what decides how long it goes on and how often it is looked at (run.steps with a
  // constant schedule, run.threads, checkpoint, evaluation.every).
  RunDirectory() = default;  // holds nothing
  static Result<RunDirectory> open(const std::string& path, const Recipe& recipe, bool resume);
  RunDirectory(RunDirectory&&) noexcept;
  RunDirectory& operator=(RunDirectory&&) noexcept;
  ~RunDirectory();

  const std::string& path() const { return path_; }
  std::string checkpoints() const { return join_path(path_, "checkpoints"); }
  std::string first_weights() const { return join_path(path_, "init"); }
  std::string metrics_file() const { return join_path(path_, "metrics.jsonl"); }
  std::string traces_file() const { return join_path(path_, "traces.jsonl"); }

  // Forgets the lines of steps after `step`, then lines can be appended.
  Status begin_after(int64_t step);
  Status write_metrics(std::string_view line);  // one line of JSON with "step"
  Status write_trace(std::string_view line);    // one line of JSON with "step"; REQUIRES begin_after()

 private:
  std::string path_;
  int lock_ = -1;
  std::unique_ptr<LineWriter> metrics_, traces_;
};

// Cuts a file of JSON lines at the first line whose "step" is larger, or which is broken. No file: nothing to do.
Status cut_lines_after(const std::string& path, int64_t step);

}  // namespace throughline

// What is practised: items from gym tasks and JSON Lines files, drawn by place, and how their answers are judged.
//
// The item at a cursor is a pure function of (recipe, seed, cursor): a resumed run needs the cursor alone. A file's
// items come in a random order that takes each once before any twice (when it is the only task); gym tasks never
// repeat. Thread-safe after create() and each_file().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gym/answer/grade.h"
#include "gym/task.h"
#include "train/recipe.h"

namespace throughline {

struct TrainItem {
  std::string id;                 // "iterate_map-0-5", or the line's id or number
  std::string task;               // the task's spec, or the file's name
  std::string prompt;             // as a user would write it
  std::string gold;               // the right answer
  std::string reasoning, answer;  // what SFT teaches; empty where only a gold answer is known
  size_t source = 0;
  TaskItem gym;  // of a gym task
};

class TrainItems {
 public:
  // The tasks of one split. `kind` decides what a file's lines must hold.
  static Result<TrainItems> create(const std::vector<TaskSection>& tasks, TaskSplit split, TrainKind kind);
  bool empty() const { return sources_.empty(); }

  TrainItem at(uint64_t seed, int64_t cursor) const;  // REQUIRES: !empty()
  // `answer` is what follows the thinking. SFT files have no gold answer to check: right if it is the response itself.
  TaskVerdict judge(const TrainItem& item, std::string_view answer) const;

  struct Line {
    std::string id, prompt, text;  // response or gold
  };
  // Lines may be taken out, before the first at().
  Status each_file(const std::function<Status(const std::string& path, std::vector<Line>& lines)>& visit);

 private:
  struct Source {
    std::string name, path;   // path: of a file
    double weight_until = 0;  // running sum, scaled to 1
    TaskSpec gym;             // task == nullptr: a file
    std::vector<Line> lines;
    const answer::Profile* profile = nullptr;
    bool has_gold = false;
  };
  static Result<std::vector<Line>> read_lines(const std::string& path, TrainKind kind);
  std::shared_ptr<const std::vector<std::unique_ptr<const Task>>> tasks_;
  std::vector<Source> sources_;
};

}  // namespace throughline

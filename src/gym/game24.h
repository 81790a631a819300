// The game of 24 (game24.csv of Tree of Thoughts, from 4nums.com): reach 24 with four numbers, each used once.
//
// Answers are read from the answer line of gym/task.h ("A: (10-4)*(13-9)") by the evaluator of gym/expression.h; "= 24"
// may follow. Countdown is the procedural cousin (gym/tasks/countdown.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gym/task.h"

namespace throughline {

struct Game24 {
  int64_t rank = 0;  // 1 is the easiest
  std::vector<int64_t> numbers;
};

// Columns "Rank", "Puzzles" ("1 1 4 6"); others are ignored.
Result<std::vector<Game24>> read_game24(const std::string& path);
std::string game24_prompt(const Game24& game);
TaskVerdict check_game24(const Game24& game, std::string_view response);

}  // namespace throughline

// Mini crosswords, 5 x 5 (the set of Tree of Thoughts, Yao et al. 2023): files, prompts and the three published scores.
//
// File: [[[10 clues: 5 across, then 5 down], [25 letters, row by row]], ...]. A response's grid: the last five lines in
// a row that hold five letters each (spaces and "|" between them allowed, any case, blank lines between skipped), after
// the last
// "</think>". Scores: letters right of 25, words right of 10 (5 rows, 5 columns), game: all of them.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace throughline {

struct Crossword {
  std::array<std::string, 10> clues;
  std::string letters;  // 25 capitals
};

struct CrosswordScore {
  bool answered = false;
  int letters = 0;
  int words = 0;
  bool game = false;
};

Result<std::vector<Crossword>> read_crosswords(const std::string& path);
std::string crossword_prompt(const Crossword& crossword);
// "" if the response holds no grid, else 25 capitals.
std::string find_crossword_grid(std::string_view response);
CrosswordScore score_crossword(const Crossword& crossword, std::string_view response);

}  // namespace throughline

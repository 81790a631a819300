#include "gym/crosswords.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace throughline {
namespace {

// Two puzzles of the set (MIT, princeton-nlp/tree-of-thought-llm).
std::vector<Crossword> two() {
  return read_crosswords(std::string(THROUGHLINE_SOURCE_DIR) + "/tests/golden/gym/crosswords.json").value();
}

TEST(Crosswords, ReadsTheFile) {
  const auto puzzles = two();
  ASSERT_EQ(puzzles.size(), 2u);
  EXPECT_EQ(puzzles[0].letters, "AGENDMOTORARTSYSALLESLEER");
  EXPECT_EQ(puzzles[0].clues[0], "An agendum; something to be done");
  const std::string prompt = crossword_prompt(puzzles[0]);
  EXPECT_NE(prompt.find("h2. An engine\n"), std::string::npos);
  EXPECT_NE(prompt.find("v5. Desiccator; more dry\n"), std::string::npos);
}

TEST(Crosswords, Scores) {
  const Crossword puzzle = two()[0];
  const auto score = [&](std::string_view response) { return score_crossword(puzzle, response); };
  CrosswordScore all = score("Thinking...\nA G E N D\nM O T O R\nA R T S Y\nS A L L E\nS L E E R\n");
  EXPECT_TRUE(all.answered && all.game);
  EXPECT_EQ(all.letters, 25);
  EXPECT_EQ(all.words, 10);
  EXPECT_TRUE(score("```\nagend\nmotor\nartsy\nsalle\nsleer\n```").game);
  EXPECT_TRUE(score("| A | G | E | N | D |\n\n|M|O|T|O|R|\nARTSY\nSALLE\nSLEER\nHope it helps.").game);
  const CrosswordScore one = score("AGEND\nMOTOR\nARTSY\nSALLE\nSLEEX");  // last letter: a row and a column
  EXPECT_FALSE(one.game);
  EXPECT_EQ(one.letters, 24);
  EXPECT_EQ(one.words, 8);
  const CrosswordScore none = score("XXXXX\nXXXXX\nXXXXX\nXXXXX\nXXXXX");
  EXPECT_TRUE(none.answered);
  EXPECT_EQ(none.letters, 0);
  EXPECT_EQ(none.words, 0);
  const CrosswordScore row = score("AGEND\nXXXXX\nXXXXX\nXXXXX\nXXXXX");
  EXPECT_EQ(row.letters, 5);
  EXPECT_EQ(row.words, 1);
}

TEST(Crosswords, TheLastGridAfterTheThinkingCounts) {
  const Crossword puzzle = two()[0];
  const std::string right = "AGEND\nMOTOR\nARTSY\nSALLE\nSLEER\n", wrong = "AAAAA\nBBBBB\nCCCCC\nDDDDD\nEEEEE\n";
  EXPECT_TRUE(score_crossword(puzzle, wrong + right).game);
  EXPECT_FALSE(score_crossword(puzzle, right + wrong).game);
  EXPECT_FALSE(score_crossword(puzzle, right + "</think>").answered);
  EXPECT_FALSE(score_crossword(puzzle, right + "</think>" + wrong).game);
  EXPECT_FALSE(score_crossword(puzzle, "AGEND\nMOTOR\nARTSY\nSALLE\n").answered);
  EXPECT_FALSE(score_crossword(puzzle, "AGEND\nMOTOR\nno\nARTSY\nSALLE\nSLEER\n").answered);
  EXPECT_FALSE(score_crossword(puzzle, "").answered);
  EXPECT_FALSE(score_crossword(puzzle, std::string(1 << 20, '\n')).answered);
  EXPECT_FALSE(score_crossword(puzzle, std::string(1 << 20, 'A')).answered);
  std::string rows;
  for (int i = 0; i < 100000; ++i) rows += "AGEND\n1\n";
  EXPECT_FALSE(score_crossword(puzzle, rows).answered);
}

TEST(Crosswords, EveryPublishedSolutionScoresFully) {
  const std::string path = std::string(THROUGHLINE_SOURCE_DIR) + "/../shared/data/eval/crosswords_mini0505.json";
  if (!file_exists(path)) GTEST_SKIP() << "no " << path;
  const auto puzzles = read_crosswords(path);
  ASSERT_TRUE(puzzles.ok()) << puzzles.error().line();
  EXPECT_EQ(puzzles->size(), 156u);
  for (const Crossword& puzzle : *puzzles) {
    std::string response;
    for (size_t i = 0; i < 25; ++i) response += std::string(1, puzzle.letters[i]) + (i % 5 == 4 ? "\n" : " ");
    EXPECT_TRUE(score_crossword(puzzle, response).game);
  }
}

TEST(Crosswords, BadFilesAreErrors) {
  const std::string path = ::testing::TempDir() + "/crosswords_bad.json";
  for (const char* text : {"{}", "[1]", "[[[],[]]]", "[[[\"a\"],[\"b\"]]]", "nonsense"}) {
    ASSERT_TRUE(write_atomically(path, text).ok());
    EXPECT_FALSE(read_crosswords(path).ok()) << text;
  }
}

}  // namespace
}  // namespace throughline

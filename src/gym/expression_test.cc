#include "gym/expression.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>

#include "base/files.h"
#include "gym/game24.h"

namespace throughline {
namespace {

std::string value_of(std::string_view text) {
  const auto seen = evaluate_expression(text);
  if (!seen) return "no expression";
  if (!seen->value) return "no value";
  return std::to_string(static_cast<long long>(seen->value->numerator)) + "/" +
         std::to_string(static_cast<long long>(seen->value->denominator));
}

TEST(Expression, Values) {
  EXPECT_EQ(value_of("1+2*3"), "7/1");
  EXPECT_EQ(value_of("(1+2)*3"), "9/1");
  EXPECT_EQ(value_of("8/(3-8/3)"), "24/1");
  EXPECT_EQ(value_of("1-2-3"), "-4/1");
  EXPECT_EQ(value_of("12/4/3"), "1/1");
  EXPECT_EQ(value_of("1/3+1/6"), "1/2");
  EXPECT_EQ(value_of("((((7))))"), "7/1");
  EXPECT_EQ(value_of(" 2 \xC3\x97 3 \xE2\x88\x92 4 \xC3\xB7 2 "), "4/1");
  EXPECT_EQ(value_of("007"), "7/1");
  EXPECT_EQ(value_of("3-3"), "0/1");
}

TEST(Expression, WhatIsNotRead) {
  for (const char* bad : {"",    " ",    "+",          "-1",         "+1",   "1+",    "1 2",   "2(3)", "(2)3", "2**3",
                          "2^3", "7//2", "7%2",        "1.5",        "1e9",  "0x10",  "1,000", "(1",   "1)",   "()",
                          "a",   "1=1",  "1234567890", "__import__", "\xff", "1+\n2", "--1",   "1--1", "2*-3"}) {
    EXPECT_EQ(value_of(bad), "no expression") << bad;
  }
  EXPECT_EQ(value_of(std::string(33, '(') + "1" + std::string(33, ')')), "no expression");
  EXPECT_EQ(value_of(std::string(32, '(') + "1" + std::string(32, ')')), "1/1");
  EXPECT_EQ(value_of(std::string(1 << 20, '(')), "no expression");
  EXPECT_EQ(value_of(std::string(1 << 20, '1')), "no expression");
  std::string sum = "1";
  for (int i = 1; i < 64; ++i) sum += "+1";
  EXPECT_EQ(value_of(sum), "64/1");
  EXPECT_EQ(value_of(sum + "+1"), "no expression");
}

TEST(Expression, WhatHasNoValue) {
  EXPECT_EQ(value_of("1/0"), "no value");
  EXPECT_EQ(value_of("1/(2-2)"), "no value");
  EXPECT_EQ(value_of("0*(1/0)"), "no value");
  std::string product = "999999999";
  for (int i = 1; i < 40; ++i) product += "*999999999";
  EXPECT_EQ(value_of(product), "no value");
  EXPECT_EQ(value_of(product + "-" + product.substr(0, 9)), "no value");
  std::string quotient = "1";
  for (int i = 0; i < 40; ++i) quotient += "/999999999";
  EXPECT_EQ(value_of(quotient), "no value");
}

// A tree drawn with its value in long double: the two agree.
struct Drawn {
  std::string text;
  long double value;
};
Drawn draw_tree(int depth) {
  if (depth == 0 || *rc::gen::inRange(0, 3) == 0) {
    const int number = *rc::gen::inRange(0, 100);
    return {std::to_string(number), static_cast<long double>(number)};
  }
  const Drawn a = draw_tree(depth - 1), b = draw_tree(depth - 1);
  const char op = "+-*/"[*rc::gen::inRange(0, 4)];
  const long double value = op == '+'   ? a.value + b.value
                            : op == '-' ? a.value - b.value
                            : op == '*' ? a.value * b.value
                                        : a.value / b.value;
  return {"(" + a.text + op + b.text + ")", value};
}

TEST(Expression, AgreesWithFloatingPoint) {
  EXPECT_TRUE(rc::check("trees", [] {
    const Drawn drawn = draw_tree(4);
    const auto seen = evaluate_expression(drawn.text);
    RC_ASSERT(seen.has_value());
    if (seen->value) {
      const long double value =
          static_cast<long double>(seen->value->numerator) / static_cast<long double>(seen->value->denominator);
      RC_ASSERT(std::abs(value - drawn.value) <= 1e-9L * std::max(1.0L, std::abs(value)));
    } else {
      RC_ASSERT(drawn.text.find('/') != std::string::npos);  // trees this small overflow only through division by zero
    }
  }));
}

TEST(Arithmetic, UsesEachNumberOnce) {
  const std::vector<int64_t> numbers = {4, 9, 10, 13};
  EXPECT_EQ(check_arithmetic("(10-4)*(13-9)", numbers, 24), TaskVerdict::kRight);
  EXPECT_EQ(check_arithmetic("(13-9)*(10-4)", numbers, 24), TaskVerdict::kRight);
  EXPECT_EQ(check_arithmetic("(10-4)*4", numbers, 24), TaskVerdict::kWrong);
  EXPECT_EQ(check_arithmetic("(10-4)*(13-9)+4-4", numbers, 24), TaskVerdict::kWrong);
  EXPECT_EQ(check_arithmetic("24", numbers, 24), TaskVerdict::kWrong);
  EXPECT_EQ(check_arithmetic("4+9+10+13", numbers, 24), TaskVerdict::kWrong);
  EXPECT_EQ(check_arithmetic("10-4*13-9=24", numbers, 24), TaskVerdict::kNoAnswer);
}

TEST(Game24, ReadsTheAnswerLine) {
  const Game24 game{1, {4, 9, 10, 13}};
  EXPECT_EQ(check_game24(game, "x\nA: (10-4)*(13-9)"), TaskVerdict::kRight);
  EXPECT_EQ(check_game24(game, "A: (10 - 4) * (13 - 9) = 24"), TaskVerdict::kRight);
  EXPECT_EQ(check_game24(game, "A: (10 - 4) * (13 - 9) = 25"), TaskVerdict::kNoAnswer);
  EXPECT_EQ(check_game24(game, "A: = 24"), TaskVerdict::kNoAnswer);
  EXPECT_EQ(check_game24(game, "A: 24 = 24"), TaskVerdict::kWrong);
  EXPECT_EQ(check_game24(game, "A: 4+9+10+13"), TaskVerdict::kWrong);
  EXPECT_EQ(check_game24(game, "(10-4)*(13-9)"), TaskVerdict::kNoAnswer);
  EXPECT_EQ(check_game24(game, "A: 9**9**9**9"), TaskVerdict::kNoAnswer);
}

// All ways to join four values, by doubles: finds an expression, whose exact value the checker must confirm.
std::string search24(std::vector<std::pair<double, std::string>> values) {
  if (values.size() == 1) return std::abs(values[0].first - 24) < 1e-9 ? values[0].second : "";
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t j = 0; j < values.size(); ++j) {
      if (i == j) continue;
      std::vector<std::pair<double, std::string>> rest;
      for (size_t k = 0; k < values.size(); ++k) {
        if (k != i && k != j) rest.push_back(values[k]);
      }
      const auto& [a, left] = values[i];
      const auto& [b, right] = values[j];
      for (char op : {'+', '-', '*', '/'}) {
        if (op == '/' && std::abs(b) < 1e-12) continue;
        rest.emplace_back(op == '+'   ? a + b
                          : op == '-' ? a - b
                          : op == '*' ? a * b
                                      : a / b,
                          "(" + left + op + right + ")");
        if (const std::string found = search24(rest); !found.empty()) return found;
        rest.pop_back();
      }
    }
  }
  return "";
}

TEST(Game24, EveryPuzzleHasASolutionThatVerifies) {
  std::string path = std::string(THROUGHLINE_SOURCE_DIR) + "/../shared/data/eval/game24.csv";
  size_t expected = 1362;
  if (!file_exists(path)) {  // the hardest and the easiest 20
    path = std::string(THROUGHLINE_SOURCE_DIR) + "/tests/golden/gym/game24.csv";
    expected = 40;
  }
  const auto games = read_game24(path);
  ASSERT_TRUE(games.ok()) << games.error().line();
  EXPECT_EQ(games->size(), expected);
  for (const Game24& game : *games) {
    std::vector<std::pair<double, std::string>> values;
    for (int64_t number : game.numbers) values.emplace_back(static_cast<double>(number), std::to_string(number));
    const std::string found = search24(values);
    ASSERT_FALSE(found.empty()) << game.rank;
    EXPECT_EQ(check_game24(game, "A: " + found), TaskVerdict::kRight) << found;
    EXPECT_NE(check_game24(game, "A: " + found + "+1"), TaskVerdict::kRight) << found;
  }
}

TEST(Game24, BadFilesAreErrors) {
  const std::string path = ::testing::TempDir() + "/game24_bad.csv";
  for (const char* text : {"Rank,Puzzles\n1", "h\n1,1 2 3\n", "h\nx,1 2 3 4\n", "h\n1,1 2 3 x\n", "h\n1,1 2 3 -4\n"}) {
    ASSERT_TRUE(write_atomically(path, text).ok());
    const auto games = read_game24(path);
    ASSERT_FALSE(games.ok()) << text;
    EXPECT_NE(games.error().line().find("line 2"), std::string::npos);
  }
}

}  // namespace
}  // namespace throughline

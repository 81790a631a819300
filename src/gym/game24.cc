#include "gym/game24.h"

#include "base/files.h"
#include "gym/expression.h"
#include "gym/task_text.h"

namespace throughline {
namespace {

constexpr int64_t kTarget = 24;

Result<Game24> read_row(std::string_view row, const std::string& where) {
  const Error bad{"is not \"rank,four numbers,...\"", where, "give a file in the form of game24.csv"};
  const auto columns = split_on(row, ',');
  if (columns.size() < 2) return bad;
  const auto rank = parse_integer(columns[0]);
  if (!rank) return bad;
  Game24 out{*rank, {}};
  for (std::string_view part : split_on(columns[1], ' ')) {
    const auto number = parse_integer(part);
    if (!number || *number < 0) return bad;
    out.numbers.push_back(*number);
  }
  if (out.numbers.size() != 4) return bad;
  return out;
}

}  // namespace

Result<std::vector<Game24>> read_game24(const std::string& path) {
  TL_TRY(const std::string text, read_file(path, size_t{64} << 20));
  std::vector<Game24> out;
  size_t number = 0;
  for (std::string_view line : split_on(text, '\n')) {
    ++number;
    line = trim_spaces(line);
    if (number == 1 || line.empty()) continue;  // the header
    TL_TRY(Game24 game, read_row(line, path + " line " + std::to_string(number)));
    out.push_back(std::move(game));
  }
  return out;
}

std::string game24_prompt(const Game24& game) {
  std::string out = "Reach 24 with these four numbers, each used exactly once, by +, -, *, / and parentheses:";
  for (int64_t number : game.numbers) out += " " + std::to_string(number);
  return out + "\nEnd with one line \"A: \" and the expression, nothing after it.\n";
}

TaskVerdict check_game24(const Game24& game, std::string_view response) {
  std::string_view given = find_answer(response);
  if (const size_t equals = given.find('='); equals != std::string_view::npos) {
    if (trim_spaces(given.substr(equals + 1)) != "24") return TaskVerdict::kNoAnswer;
    given = trim_spaces(given.substr(0, equals));
  }
  if (given.empty()) return TaskVerdict::kNoAnswer;
  return check_arithmetic(given, game.numbers, kTarget);
}

}  // namespace throughline

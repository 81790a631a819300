#include "gym/crosswords.h"

#include "base/json.h"
#include "gym/task_text.h"

namespace throughline {
namespace {

constexpr size_t kSide = 5;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string capitals(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  }
  return out;
}

// The five letters of a grid row, or "".
std::string grid_row(std::string_view line) {
  std::string out;
  for (char c : line) {
    if (c == ' ' || c == '|' || c == '\t' || c == '\r') continue;
    if (!is_letter(c) || out.size() == kSide) return "";
    out += c;
  }
  return out.size() == kSide ? capitals(out) : "";
}

Result<Crossword> read_one(const Json& item, const std::string& where) {
  const Error bad{"is not [[10 clues], [25 letters]]", where, "give a file in the form of mini0505.json"};
  if (!item.is_array() || item.size() != 2 || !item[0].is_array() || !item[1].is_array()) return bad;
  if (item[0].size() != 2 * kSide || item[1].size() != kSide * kSide) return bad;
  Crossword out;
  for (size_t i = 0; i < out.clues.size(); ++i) {
    if (!item[0][i].is_string()) return bad;
    out.clues[i] = item[0][i].get<std::string>();
  }
  for (const Json& letter : item[1]) {
    if (!letter.is_string() || letter.get_ref<const std::string&>().size() != 1 ||
        !is_letter(letter.get_ref<const std::string&>()[0])) {
      return bad;
    }
    out.letters += letter.get<std::string>();
  }
  out.letters = capitals(out.letters);
  return out;
}

}  // namespace

Result<std::vector<Crossword>> read_crosswords(const std::string& path) {
  TL_TRY(const Json file, read_json_file(path));
  if (!file.is_array()) return Error{"is not a list of crosswords", path, "give a file in the form of mini0505.json"};
  std::vector<Crossword> out;
  for (size_t i = 0; i < file.size(); ++i) {
    TL_TRY(Crossword one, read_one(file[i], path + ": item " + std::to_string(i + 1)));
    out.push_back(std::move(one));
  }
  return out;
}

std::string crossword_prompt(const Crossword& crossword) {
  std::string out =
      "Solve this mini crossword: a 5 x 5 grid of letters in which every row (h1 to h5) and every column (v1 to v5) is "
      "a word of "
      "five letters.\n\n";
  for (size_t i = 0; i < crossword.clues.size(); ++i) {
    out += (i < kSide ? "h" : "v") + std::to_string(i % kSide + 1) + ". " + crossword.clues[i] + "\n";
  }
  return out + "\nEnd with the grid alone: five lines of five letters separated by spaces.\n";
}

std::string find_crossword_grid(std::string_view response) {
  constexpr std::string_view kThinkEnd = "</think>";
  if (const size_t end = response.rfind(kThinkEnd); end != std::string_view::npos)
    response.remove_prefix(end + kThinkEnd.size());
  std::string rows;  // of the current run, last row first
  while (true) {
    const size_t newline = response.rfind('\n');
    const std::string_view line =
        trim_spaces(newline == std::string_view::npos ? response : response.substr(newline + 1));
    const std::string row = grid_row(line);
    if (!row.empty()) {
      rows = row + rows;
      if (rows.size() == kSide * kSide) return rows;
    } else if (!line.empty()) {
      rows.clear();
    }
    if (newline == std::string_view::npos) return "";
    response = response.substr(0, newline);
  }
}

CrosswordScore score_crossword(const Crossword& crossword, std::string_view response) {
  CrosswordScore out;
  const std::string grid = find_crossword_grid(response);
  if (grid.empty()) return out;
  out.answered = true;
  std::array<bool, kSide> row_right, column_right;
  row_right.fill(true);
  column_right.fill(true);
  for (size_t i = 0; i < grid.size(); ++i) {
    const bool right = grid[i] == crossword.letters[i];
    out.letters += right;
    row_right[i / kSide] = row_right[i / kSide] && right;
    column_right[i % kSide] = column_right[i % kSide] && right;
  }
  for (size_t i = 0; i < kSide; ++i) out.words += row_right[i] + column_right[i];
  out.game = out.words == 2 * kSide;
  return out;
}

}  // namespace throughline

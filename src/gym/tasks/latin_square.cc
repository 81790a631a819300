#include "gym/tasks/latin_square.h"

#include "gym/task_text.h"

namespace throughline {
namespace {

constexpr int kMaxOrder = 9;

// Cells row by row, '1'.. or '.'.
struct Square {
  int order = 0;
  std::string cells;

  std::string text() const {
    std::string out;
    for (int row = 0; row < order; ++row)
      out += (row == 0 ? "" : "/") + cells.substr(static_cast<size_t>(row * order), static_cast<size_t>(order));
    return out;
  }
  bool allowed(int cell, char symbol) const {
    const int row = cell / order, column = cell % order;
    for (int i = 0; i < order; ++i) {
      if (row * order + i != cell && cells[row * order + i] == symbol) return false;
      if (i * order + column != cell && cells[i * order + column] == symbol) return false;
    }
    return true;
  }
};

std::optional<Square> read_puzzle(std::string_view text) {
  if (text.size() < 3 || text[0] < '2' || text[0] > '0' + kMaxOrder || text[1] != ':') return std::nullopt;
  Square out{text[0] - '0', ""};
  const auto rows = split_on(text.substr(2), '/');
  if (rows.size() != static_cast<size_t>(out.order)) return std::nullopt;
  for (std::string_view row : rows) {
    if (row.size() != rows.size()) return std::nullopt;
    for (char c : row) {
      if (c != '.' && (c < '1' || c > '0' + out.order)) return std::nullopt;
    }
    out.cells += row;
  }
  return out;
}

// Kuhn's augmenting path: gives column `column` a symbol not yet used in it; other columns of this row may change
// theirs.
bool assign_symbol(int column, const std::vector<std::vector<int>>& choices, std::vector<int>& column_of,
                   std::vector<bool>& tried) {
  for (int symbol : choices[static_cast<size_t>(column)]) {
    if (tried[static_cast<size_t>(symbol)]) continue;
    tried[static_cast<size_t>(symbol)] = true;
    int& owner = column_of[static_cast<size_t>(symbol)];
    if (owner < 0 || assign_symbol(owner, choices, column_of, tried)) {
      owner = column;
      return true;
    }
  }
  return false;
}

// Row by row; a Latin rectangle can always be extended (Hall). Every square can come up, not equally often.
Square draw_square(CounterStream& draw, int order) {
  std::vector<std::vector<int>> choices(static_cast<size_t>(order));
  for (auto& symbols : choices) {
    for (int i = 0; i < order; ++i) symbols.push_back(i);
  }
  Square out{order, ""};
  for (int row = 0; row < order; ++row) {
    for (auto& symbols : choices) shuffle(draw, symbols);
    std::vector<int> column_of(static_cast<size_t>(order), -1);
    for (int column = 0; column < order; ++column) {
      std::vector<bool> tried(static_cast<size_t>(order), false);
      TL_CHECK(assign_symbol(column, choices, column_of, tried), "a Latin rectangle that cannot be extended");
    }
    std::string cells(static_cast<size_t>(order), '.');
    for (int symbol = 0; symbol < order; ++symbol) {
      const auto column = static_cast<size_t>(column_of[static_cast<size_t>(symbol)]);
      cells[column] = static_cast<char>('1' + symbol);
      std::erase(choices[column], symbol);
    }
    out.cells += cells;
  }
  return out;
}

// The search of the traces: visit(square, dead) per line; ends with the first completion in that order.
// REQUIRES: the givens have a completion.
template <typename Visit>
Square search(const Square& givens, Visit visit) {
  std::vector<int> blanks;
  for (int i = 0; i < givens.order * givens.order; ++i) {
    if (givens.cells[static_cast<size_t>(i)] == '.') blanks.push_back(i);
  }
  Square square = givens;
  size_t filled = 0;
  const auto place_from = [&](char symbol) {  // fills the next blank with the least allowed symbol from `symbol` on
    for (; symbol <= '0' + square.order; ++symbol) {
      if (!square.allowed(blanks[filled], symbol)) continue;
      square.cells[static_cast<size_t>(blanks[filled++])] = symbol;
      return true;
    }
    return false;
  };
  while (filled < blanks.size()) {
    bool placed = place_from('1');
    if (!placed) visit(square, true);
    while (!placed) {
      TL_CHECK(filled > 0, "the givens have no completion");
      char& last = square.cells[static_cast<size_t>(blanks[--filled])];
      const char tried = last;
      last = '.';
      placed = place_from(static_cast<char>(tried + 1));
    }
    visit(square, false);
  }
  return square;
}

class LatinSquare final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{"latin_square",
                 "fill the blanks of a Latin square by search in place (delethink.md E.3)",
                 {{.name = "order",
                   .default_text = "5",
                   .help = "rows, columns and symbols",
                   .minimum = 2,
                   .maximum = kMaxOrder},
                  {.name = "blanks",
                   .default_text = "10",
                   .help = "blank cells",
                   .minimum = 1,
                   .maximum = kMaxOrder * kMaxOrder}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"latin_square:order=4,blanks=4", "latin_square:order=4,blanks=8", "latin_square:order=5,blanks=12",
            "latin_square:order=6,blanks=18", "latin_square:order=6,blanks=24"};
  }

  Status validate(const Spec& spec) const override {
    const auto order = spec.integer("order"), cells = order * order;
    // Deep searches explode: order 9 with 44 blanks has traces of 28 MB.
    const int64_t most = order <= 6 ? cells : cells * 2 / 5;
    if (spec.integer("blanks") <= most) return {};
    return Error{"blanks=" + spec.text("blanks") + " is too many for order=" + spec.text("order"), "",
                 "at most " + std::to_string(most)};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    Square givens = draw_square(draw, static_cast<int>(spec.integer("order")));
    std::vector<size_t> cells(givens.cells.size());
    for (size_t i = 0; i < cells.size(); ++i) cells[i] = i;
    shuffle(draw, cells);
    for (int64_t i = 0; i < spec.integer("blanks"); ++i) givens.cells[cells[static_cast<size_t>(i)]] = '.';

    const std::string end = styled(spec, style, {"\n", "; "});
    const std::string dead = styled(spec, style, {"x", " no", " dead"});
    Draft out;
    out.puzzle = std::to_string(givens.order) + ":" + givens.text();
    out.trace = styled(spec, style, {"", "try ", "fill "}) + givens.text();
    const Square solved = search(
        givens, [&](const Square& square, bool is_dead) { out.trace += end + square.text() + (is_dead ? dead : ""); });
    out.answer = solved.text();
    return out;
  }

  std::string explanation(const Spec&) const override {
    return "Below is a square, its size before the colon, its rows separated by \"/\", with blanks \".\". Fill the "
           "blanks so that "
           "every row and every column has each of the numbers 1 to the size once. Answer with all rows, separated by "
           "\"/\".";
  }

  TaskVerdict judge(std::string_view text, std::string_view, std::string_view given) const override {
    const auto givens = read_puzzle(text);
    Square seen{givens ? givens->order : 0, remove_chars(given, " /")};
    if (!givens || seen.cells.find_first_not_of("123456789") != std::string::npos) return TaskVerdict::kNoAnswer;
    if (seen.cells.size() != givens->cells.size()) return TaskVerdict::kWrong;
    for (size_t i = 0; i < seen.cells.size(); ++i) {
      const char symbol = seen.cells[i];
      if (symbol > '0' + seen.order || (givens->cells[i] != '.' && givens->cells[i] != symbol))
        return TaskVerdict::kWrong;
      if (!seen.allowed(static_cast<int>(i), symbol)) return TaskVerdict::kWrong;
    }
    return TaskVerdict::kRight;
  }
};

}  // namespace

std::unique_ptr<const Task> make_latin_square() { return std::make_unique<LatinSquare>(); }

}  // namespace throughline

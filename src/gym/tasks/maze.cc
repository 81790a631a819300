#include "gym/tasks/maze.h"

#include <algorithm>

#include "gym/task_text.h"

namespace throughline {
namespace {

constexpr int64_t kMaxSide = 100;            // squares; of a puzzle read back
constexpr std::string_view kMoves = "urdl";  // also the order of the search

struct Place {
  int row = 0, column = 0;
  bool operator==(const Place&) const = default;
};

Place moved(Place at, char move) {
  if (move == 'u') --at.row;
  if (move == 'd') ++at.row;
  if (move == 'l') --at.column;
  if (move == 'r') ++at.column;
  return at;
}

char opposite(char move) { return kMoves[(kMoves.find(move) + 2) % 4]; }

struct Grid {
  std::vector<std::string> rows;

  bool open(Place at) const {
    return at.row >= 0 && at.row < static_cast<int>(rows.size()) && at.column >= 0 &&
           at.column < static_cast<int>(rows[0].size()) &&
           rows[static_cast<size_t>(at.row)][static_cast<size_t>(at.column)] != '#';
  }
  char& at(Place place) { return rows[static_cast<size_t>(place.row)][static_cast<size_t>(place.column)]; }
  std::optional<Place> only(char mark) const {  // nullopt unless `mark` stands once
    std::optional<Place> found;
    for (size_t row = 0; row < rows.size(); ++row) {
      for (size_t column = 0; column < rows[row].size(); ++column) {
        if (rows[row][column] != mark) continue;
        if (found) return std::nullopt;
        found = Place{static_cast<int>(row), static_cast<int>(column)};
      }
    }
    return found;
  }
};

std::optional<Grid> read_puzzle(std::string_view text) {
  if (text.size() > kMaxSide * (kMaxSide + 1)) return std::nullopt;
  Grid out;
  for (std::string_view row : split_on(text, '/')) {
    if (row.empty() || (!out.rows.empty() && row.size() != out.rows[0].size())) return std::nullopt;
    if (row.find_first_not_of("#.sg") != std::string_view::npos) return std::nullopt;
    out.rows.emplace_back(row);
  }
  return out;
}

// A uniformly grown spanning tree of size x size cells (growing tree: newest cell, sometimes any); cells lie on even
// squares.
Grid draw_grid(CounterStream& draw, int size) {
  Grid grid{
      std::vector<std::string>(static_cast<size_t>(2 * size - 1), std::string(static_cast<size_t>(2 * size - 1), '#'))};
  const auto inside = [&](Place at) {
    return at.row >= 0 && at.column >= 0 && at.row < 2 * size - 1 && at.column < 2 * size - 1;
  };
  std::vector<Place> active = {
      {2 * static_cast<int>(draw.integer(0, size - 1)), 2 * static_cast<int>(draw.integer(0, size - 1))}};
  grid.at(active[0]) = '.';
  while (!active.empty()) {
    const auto last = static_cast<int64_t>(active.size()) - 1;
    const auto index = static_cast<size_t>(chance(draw, 0.8) ? last : draw.integer(0, last));
    std::vector<char> free;
    for (char move : kMoves) {
      const Place cell = moved(moved(active[index], move), move);
      if (inside(cell) && grid.at(cell) == '#') free.push_back(move);
    }
    if (free.empty()) {
      active.erase(active.begin() + static_cast<std::ptrdiff_t>(index));
      continue;
    }
    const Place wall = moved(active[index], pick(draw, free));
    const Place cell{2 * wall.row - active[index].row, 2 * wall.column - active[index].column};
    grid.at(wall) = grid.at(cell) = '.';
    active.push_back(cell);
  }
  return grid;
}

// The moves open at the end of a path, in search order, never straight back.
std::string ways_on(const Grid& grid, Place at, const std::string& path) {
  std::string out;
  for (char move : kMoves) {
    if (!path.empty() && move == opposite(path.back())) continue;
    if (grid.open(moved(at, move))) out += move;
  }
  return out;
}

// The search of the traces in a maze without loops: visit(path, dead end) at junctions, dead ends and the goal.
template <typename Visit>
std::string search(const Grid& grid, Place start, Place goal, Visit visit) {
  std::string path;
  std::vector<Place> places = {start};
  char after = '\0';  // backtracking: take the next way after this one
  while (places.back() != goal) {
    const std::string ways = ways_on(grid, places.back(), path);
    const size_t next = after == '\0' ? 0 : ways.find(after) + 1;
    const bool new_place = after == '\0';
    if (new_place && ways.size() != 1 && !path.empty()) visit(path, ways.empty());
    if (next < ways.size()) {
      path += ways[next];
      places.push_back(moved(places.back(), ways[next]));
      after = '\0';
    } else {
      TL_CHECK(!path.empty(), "the maze has no way from s to g");
      after = path.back();
      path.pop_back();
      places.pop_back();
    }
  }
  visit(path, false);
  return path;
}

class Maze final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{"maze",
                 "a path through a maze without loops by depth-first search",
                 {{.name = "size",
                   .default_text = "5",
                   .help = "cells a side; the grid has 2 size - 1 squares a side",
                   .minimum = 2,
                   .maximum = 24}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"maze:size=3", "maze:size=4", "maze:size=5", "maze:size=7", "maze:size=10"};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    const auto size = static_cast<int>(spec.integer("size"));
    Grid grid = draw_grid(draw, size);
    // Opposite sides, so that the length grows with the size.
    const Place start{2 * static_cast<int>(draw.integer(0, size - 1)), 0};
    const Place goal{2 * static_cast<int>(draw.integer(0, size - 1)), 2 * size - 2};
    grid.at(start) = 's';
    grid.at(goal) = 'g';
    Draft out;
    for (size_t i = 0; i < grid.rows.size(); ++i) out.puzzle += (i == 0 ? "" : "/") + grid.rows[i];

    const std::string end = styled(spec, style, {"\n", "; "});
    const std::string dead = styled(spec, style, {"x", " dead", " back"});
    const std::string found = styled(spec, style, {"", " ok", " here"});
    out.trace = styled(spec, style, {"go", "from s", "start"});
    out.answer = search(grid, start, goal, [&](const std::string& path, bool is_dead) {
      out.trace += end + path + (is_dead ? dead : "");
    });
    out.trace += found;
    return out;
  }

  std::string explanation(const Spec&) const override {
    return "Below is a maze, its rows separated by \"/\": s start, g goal, # wall, . open. Go from s to g by moves u "
           "(up), d (down), "
           "l (left), r (right), one square each, never onto a wall. Answer with the moves, without spaces (for "
           "example rrddr).";
  }

  TaskVerdict judge(std::string_view text, std::string_view, std::string_view given) const override {
    const auto grid = read_puzzle(text);
    const std::string path = remove_chars(given, " ,");
    if (!grid || path.find_first_not_of(kMoves) != std::string::npos) return TaskVerdict::kNoAnswer;
    const auto start = grid->only('s'), goal = grid->only('g');
    if (!start || !goal) return TaskVerdict::kNoAnswer;
    size_t open = 0;
    for (const auto& row : grid->rows)
      open += static_cast<size_t>(std::count_if(row.begin(), row.end(), [](char c) { return c != '#'; }));
    if (path.size() > 4 * open) return TaskVerdict::kWrong;
    Place at = *start;
    for (char move : path) {
      at = moved(at, move);
      if (!grid->open(at)) return TaskVerdict::kWrong;
    }
    return at == *goal ? TaskVerdict::kRight : TaskVerdict::kWrong;
  }
};

}  // namespace

std::unique_ptr<const Task> make_maze() { return std::make_unique<Maze>(); }

}  // namespace throughline

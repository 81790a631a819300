#include "gym/task_solvers.h"

#include <gmp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <vector>

#include "gym/task.h"

namespace throughline {
namespace {

std::string without(const std::string& text, const std::string& unwanted) {
  std::string out;
  for (char c : text) {
    if (unwanted.find(c) == std::string::npos) out += c;
  }
  return out;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> out;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) out.push_back(part);
  return out;
}

std::vector<long long> integers(const std::string& text) {
  std::vector<long long> out;
  for (const auto& part : split(text, ',')) out.push_back(std::stoll(part));
  return out;
}

std::string joined(const std::vector<long long>& numbers) {
  std::string out;
  for (long long x : numbers) out += std::to_string(x) + ",";
  if (!out.empty()) out.pop_back();
  return out;
}

bool is_integer(const std::string& text) {
  const size_t from = !text.empty() && text[0] == '-' ? 1 : 0;
  return text.size() > from && text.find_first_not_of("0123456789", from) == std::string::npos;
}

// ---- iterate_map, planted_fact: a std::map walk.
std::string walk(const std::string& arrows, char node, long long steps, std::vector<char>* visited) {
  std::map<char, char> next;
  for (const auto& pair : split(arrows, ' ')) next[pair.at(0)] = pair.at(1);
  for (long long i = 0; i < steps; ++i) visited->push_back(node = next.at(node));
  return std::string(1, node);
}

std::string solve_iterate_map(const std::string& puzzle) {
  const auto parts = split(puzzle, ';');
  std::smatch start;
  if (!std::regex_match(parts.at(2), start, std::regex("(\\d+)([a-t])((?:[u-x]0)+)"))) return "";
  std::vector<char> visited;
  std::string answer = walk(parts.at(0), start.str(2).at(0), std::stoll(start.str(1)), &visited);
  std::map<char, long long> registers;
  for (size_t i = 0; i < start.str(3).size(); i += 2) registers[start.str(3)[i]] = 0;
  for (const auto& mark : split(parts.at(1), ' ')) {
    registers.at(mark.at(1)) += std::count(visited.begin(), visited.end(), mark.at(0)) * std::stoll(mark.substr(2));
  }
  for (const auto& [name, value] : registers) answer += std::to_string(value % 10);
  return answer;
}

std::string solve_planted_fact(const std::string& puzzle) {
  const auto parts = split(puzzle, ';');
  std::vector<char> visited;
  const std::string last = walk(parts.at(0), parts.at(1).at(0), std::stoll(parts.at(1).substr(1)), &visited);
  if (parts.at(2)[0] == 'f') return last + parts.at(2).substr(1);
  return last + std::string(visited.begin(), visited.begin() + std::stoll(parts.at(2)));
}

// ---- long_multiplication, chain_sum: GMP.
bool same_integer(const std::string& given, mpz_t expected) {
  if (!is_integer(given)) return false;
  mpz_t seen;
  mpz_init_set_str(seen, given.c_str(), 10);
  const bool same = mpz_cmp(seen, expected) == 0;
  mpz_clear(seen);
  return same;
}

bool solves_multiplication(const std::string& puzzle, const std::string& given) {
  const auto parts = split(puzzle, '*');
  mpz_t a, b;
  mpz_init_set_str(a, parts.at(0).c_str(), 10);
  mpz_init_set_str(b, parts.at(1).c_str(), 10);
  mpz_mul(a, a, b);
  const bool same = same_integer(given, a);
  mpz_clears(a, b, nullptr);
  return same;
}

bool solves_chain_sum(const std::string& puzzle, const std::string& given) {
  long long sum = 0;
  for (size_t at = 0; at < puzzle.size();) {
    size_t used = 0;
    sum += std::stoll(puzzle.substr(at), &used);
    at += used;
  }
  mpz_t expected;
  mpz_init_set_si(expected, sum);
  const bool same = same_integer(given, expected);
  mpz_clear(expected);
  return same;
}

// ---- three_sat: brute force over bit masks.
struct Cnf {
  int variables = 0;
  std::vector<std::vector<int>> clauses;  // +-(variable + 1)

  explicit Cnf(const std::string& puzzle) : variables(std::stoi(puzzle)) {
    for (const auto& text : split(puzzle.substr(puzzle.find(':') + 1), ',')) {
      clauses.emplace_back();
      int sign = 1;
      for (char c : text) {
        if (c != '-') clauses.back().push_back(sign * (c - 'a' + 1));
        sign = c == '-' ? -1 : 1;
      }
    }
  }
  bool satisfied(uint32_t mask) const {  // bit i: variable i
    return std::all_of(clauses.begin(), clauses.end(), [&](const auto& clause) {
      return std::any_of(clause.begin(), clause.end(),
                         [&](int x) { return ((mask >> (std::abs(x) - 1)) & 1) == (x > 0 ? 1u : 0u); });
    });
  }
};

bool solves_three_sat(const std::string& puzzle, const std::string& given) {
  const Cnf cnf(puzzle);
  const std::string bits = without(given, " ");
  if (static_cast<int>(bits.size()) != cnf.variables || bits.find_first_not_of("01") != std::string::npos) return false;
  uint32_t mask = 0;
  for (size_t i = 0; i < bits.size(); ++i) mask |= static_cast<uint32_t>(bits[i] - '0') << i;
  return cnf.satisfied(mask);
}

// ---- latin_square: sets of rows and columns.
bool solves_latin_square(const std::string& puzzle, const std::string& given) {
  const auto rows = split(puzzle.substr(2), '/');
  const std::string cells = without(given, " /");
  const size_t n = rows.size();
  if (cells.size() != n * n) return false;
  std::set<char> symbols;
  for (size_t i = 0; i < n; ++i) symbols.insert(static_cast<char>('1' + i));
  for (size_t i = 0; i < n; ++i) {
    std::set<char> row, column;
    for (size_t j = 0; j < n; ++j) {
      if (rows[i][j] != '.' && rows[i][j] != cells[i * n + j]) return false;
      row.insert(cells[i * n + j]);
      column.insert(cells[j * n + i]);
    }
    if (row != symbols || column != symbols) return false;
  }
  return true;
}

// ---- countdown: two stacks over long double.
bool evaluate(const std::string& text, long double* value, std::vector<long long>* numbers) {
  std::vector<long double> values;
  std::string ops;
  const auto rank = [](char op) { return op == '(' ? 0 : op == '+' || op == '-' ? 1 : 2; };
  const auto reduce = [&] {
    const long double b = values.back();
    values.pop_back();
    long double& a = values.back();
    a = ops.back() == '+' ? a + b : ops.back() == '-' ? a - b : ops.back() == '*' ? a * b : a / b;
    ops.pop_back();
  };
  bool want_operand = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ') continue;
    if (std::isdigit(static_cast<unsigned char>(c))) {
      if (!want_operand) return false;
      size_t used = 0;
      numbers->push_back(std::stoll(text.substr(i), &used));
      values.push_back(static_cast<long double>(numbers->back()));
      i += used - 1;
      want_operand = false;
    } else if (c == '(') {
      if (!want_operand) return false;
      ops += c;
    } else if (c == ')') {
      if (want_operand) return false;
      while (!ops.empty() && ops.back() != '(') reduce();
      if (ops.empty()) return false;
      ops.pop_back();
    } else {
      if (want_operand || std::string("+-*/").find(c) == std::string::npos) return false;
      while (!ops.empty() && rank(ops.back()) >= rank(c)) reduce();
      ops += c;
      want_operand = true;
    }
  }
  if (want_operand) return false;
  while (!ops.empty()) {
    if (ops.back() == '(') return false;
    reduce();
  }
  *value = values.back();
  return std::isfinite(static_cast<double>(*value));
}

bool solves_countdown(const std::string& puzzle, const std::string& given) {
  auto numbers = integers(puzzle.substr(0, puzzle.find('=')));
  const long double target = std::stoll(puzzle.substr(puzzle.find('=') + 1));
  long double value = 0;
  std::vector<long long> used;
  if (!evaluate(given, &value, &used)) return false;
  std::sort(numbers.begin(), numbers.end());
  std::sort(used.begin(), used.end());
  return used == numbers && std::fabs(static_cast<double>(value - target)) < 1e-9;
}

// ---- digit_completion, number_sorting
std::string solve_digit_completion(const std::string& puzzle) {
  const auto parts = split(puzzle, ':');
  const auto start = integers(parts.at(0)), rule = integers(parts.at(1));
  std::vector<long long> out;
  for (long long i = 1; i <= rule.at(1); ++i) {
    const long long x = start.at(1) + i * (start.at(1) - start.at(0));
    out.push_back(((x % rule.at(0)) + rule.at(0)) % rule.at(0));
  }
  return joined(out);
}

std::string solve_number_sorting(const std::string& puzzle) {
  const auto parts = split(puzzle, ':');
  auto numbers = integers(parts.at(1));
  std::sort(numbers.begin(), numbers.end());
  if (parts.at(0) == "down") std::reverse(numbers.begin(), numbers.end());
  return joined(numbers);
}

// ---- tower_of_hanoi: three stacks.
bool solves_hanoi(const std::string& puzzle, const std::string& given) {
  const int disks = std::stoi(puzzle);
  const char from = puzzle[puzzle.find(':') + 1], to = puzzle.back();
  std::map<char, std::vector<int>> pegs{{'a', {}}, {'b', {}}, {'c', {}}};
  for (int disk = disks; disk >= 1; --disk) pegs[from].push_back(disk);
  const std::string moves = without(given, " ,");
  if (moves.size() % 2 != 0 || moves.size() > 4 * ((size_t{1} << disks) - 1)) return false;
  for (size_t i = 0; i < moves.size(); i += 2) {
    if (!pegs.count(moves[i]) || !pegs.count(moves[i + 1])) return false;
    auto& source = pegs[moves[i]];
    auto& goal = pegs[moves[i + 1]];
    if (source.empty() || &source == &goal || (!goal.empty() && goal.back() < source.back())) return false;
    goal.push_back(source.back());
    source.pop_back();
  }
  return static_cast<int>(pegs[to].size()) == disks;
}

// ---- maze: a set of open squares.
struct MazeMap {
  std::set<std::pair<int, int>> open;
  std::pair<int, int> start, goal;

  explicit MazeMap(const std::string& puzzle) {
    const auto rows = split(puzzle, '/');
    for (int y = 0; y < static_cast<int>(rows.size()); ++y) {
      for (int x = 0; x < static_cast<int>(rows[y].size()); ++x) {
        if (rows[y][x] != '#') open.insert({y, x});
        if (rows[y][x] == 's') start = {y, x};
        if (rows[y][x] == 'g') goal = {y, x};
      }
    }
  }
  static std::pair<int, int> step(std::pair<int, int> at, char move) {
    return {at.first + (move == 'd') - (move == 'u'), at.second + (move == 'r') - (move == 'l')};
  }
  int distance() const {  // breadth first; -1: no way
    std::map<std::pair<int, int>, int> seen{{start, 0}};
    for (std::deque<std::pair<int, int>> queue{start}; !queue.empty(); queue.pop_front()) {
      for (char move : {'u', 'd', 'l', 'r'}) {
        const auto next = step(queue.front(), move);
        if (open.count(next) && seen.emplace(next, seen[queue.front()] + 1).second) queue.push_back(next);
      }
    }
    return seen.count(goal) ? seen[goal] : -1;
  }
};

bool solves_maze(const std::string& puzzle, const std::string& given) {
  const MazeMap maze(puzzle);
  auto at = maze.start;
  const std::string moves = without(given, " ,");
  if (moves.size() > 4 * maze.open.size()) return false;
  for (char move : moves) {
    if (std::string("udlr").find(move) == std::string::npos) return false;
    at = MazeMap::step(at, move);
    if (!maze.open.count(at)) return false;
  }
  return at == maze.goal;
}

}  // namespace

bool solves(const std::string& task, const std::string& puzzle, const std::string& given_raw) {
  // The answer line is trimmed by whoever reads it.
  const size_t from = given_raw.find_first_not_of(' ');
  if (from == std::string::npos) return false;
  const std::string given = given_raw.substr(from, given_raw.find_last_not_of(' ') - from + 1);
  const std::string tight = without(given, " ");
  if (task == "iterate_map") return tight == solve_iterate_map(puzzle);
  if (task == "planted_fact") return tight == solve_planted_fact(puzzle);
  if (task == "long_multiplication") return solves_multiplication(puzzle, given);
  if (task == "chain_sum") return solves_chain_sum(puzzle, given);
  if (task == "three_sat") return solves_three_sat(puzzle, given);
  if (task == "latin_square") return solves_latin_square(puzzle, given);
  if (task == "countdown") return solves_countdown(puzzle, given);
  if (task == "digit_completion") return tight == solve_digit_completion(puzzle);
  if (task == "number_sorting") return tight == solve_number_sorting(puzzle);
  if (task == "tower_of_hanoi") return solves_hanoi(puzzle, given);
  if (task == "maze") return solves_maze(puzzle, given);
  ADD_FAILURE() << "no solver for " << task;
  return false;
}

namespace {

TaskItem sample(const std::string& spec_text, uint64_t index) {
  const auto tasks = make_all_tasks();
  const auto spec = parse_task_spec(
      tasks, spec_text + (spec_text.find(':') == std::string::npos ? ":" : ",") + "form=compact", "test");
  TaskItem item = spec.value().task->generate(21, index, spec.value().difficulty);
  item.prompt.pop_back();
  return item;
}

TEST(Solvers, BruteForceFindsThatEveryFormulaIsSatisfiable) {
  int unique = 0;
  for (const char* level : {"three_sat:variables=10", "three_sat:variables=8,ratio=8", "three_sat:variables=5"}) {
    for (uint64_t i = 0; i < 60; ++i) {
      const TaskItem item = sample(level, i);
      const Cnf cnf(item.prompt);
      int count = 0;
      std::string first;  // in the order of the traces: 1 before 0, from the first variable
      for (uint32_t mask = 0; mask < (1u << cnf.variables); ++mask) {
        if (!cnf.satisfied(mask)) continue;
        ++count;
        std::string bits;
        for (int v = 0; v < cnf.variables; ++v) bits += (mask >> v) & 1 ? '1' : '0';
        first = std::max(first, bits);
      }
      EXPECT_GT(count, 0) << item.prompt;
      EXPECT_EQ(first, item.answer) << item.prompt;
      unique += count == 1;
    }
  }
  EXPECT_LT(unique, 180);
}

TEST(Solvers, BreadthFirstSearchAgreesWithMazes) {
  for (uint64_t i = 0; i < 100; ++i) {
    const TaskItem item = sample("maze:size=" + std::to_string(2 + i % 9), i);
    EXPECT_EQ(MazeMap(item.prompt).distance(), static_cast<int>(item.answer.size()))
        << item.prompt;  // no loops: one simple way
  }
}

TEST(Solvers, BreadthFirstSearchAgreesWithHanoi) {
  for (uint64_t i = 0; i < 30; ++i) {
    const TaskItem item = sample("tower_of_hanoi:disks=" + std::to_string(1 + i % 5), i);
    const int disks = std::stoi(item.prompt);
    // States are strings of pegs, smallest disk first; a disk moves if no smaller one shares its peg or its goal.
    const std::string start(disks, item.prompt[item.prompt.find(':') + 1]), goal(disks, item.prompt.back());
    std::map<std::string, int> distance{{start, 0}};
    for (std::deque<std::string> queue{start}; !queue.empty(); queue.pop_front()) {
      for (int disk = 0; disk < disks; ++disk) {
        for (char peg : {'a', 'b', 'c'}) {
          std::string next = queue.front();
          const std::string smaller = next.substr(0, disk);
          if (smaller.find(next[disk]) != std::string::npos || smaller.find(peg) != std::string::npos) continue;
          next[disk] = peg;
          if (distance.emplace(next, distance[queue.front()] + 1).second) queue.push_back(next);
        }
      }
    }
    EXPECT_EQ(distance[goal], static_cast<int>(split(item.answer, ' ').size())) << item.prompt;
  }
}

TEST(Solvers, BruteForceFindsACompletionOfEveryLatinSquare) {
  for (uint64_t i = 0; i < 40; ++i) {
    const TaskItem item = sample("latin_square:order=4,blanks=" + std::to_string(1 + i % 9), i);
    std::string cells = without(item.prompt.substr(2), "/");
    std::vector<size_t> blanks;
    for (size_t j = 0; j < cells.size(); ++j) {
      if (cells[j] == '.') blanks.push_back(j);
    }
    std::set<std::string> found;
    for (size_t code = 0; code < (size_t{1} << (2 * blanks.size())); ++code) {
      bool repeated = false;  // rows first: most fillings fall here
      for (size_t j = 0; j < blanks.size(); ++j) cells[blanks[j]] = static_cast<char>('1' + (code >> (2 * j)) % 4);
      for (size_t j = 0; j < 16; ++j) repeated = repeated || cells.find(cells[j], j + 1) < (j / 4 + 1) * 4;
      if (!repeated && solves("latin_square", item.prompt, cells)) found.insert(cells);
    }
    ASSERT_FALSE(found.empty()) << item.prompt;
    EXPECT_EQ(*found.begin(), without(item.answer, "/")) << item.prompt;  // the first in the order of the traces
  }
}

// Each line of a search trace is a function of the puzzle and the line before: a carried line suffices to go on.
TEST(Solvers, SearchTracesNeverRepeatALine) {
  for (const char* level : {"three_sat:variables=11,style=plain", "latin_square:order=5,blanks=15,style=plain",
                            "maze:size=8,style=plain"}) {
    for (uint64_t i = 0; i < 30; ++i) {
      const auto lines = split(sample(level, i).trace, '\n');
      EXPECT_EQ(std::set<std::string>(lines.begin(), lines.end()).size(), lines.size()) << level;
    }
  }
}

TEST(Solvers, RestatingFollowsItsProbability) {
  for (const auto& [level, expected] :
       std::vector<std::pair<std::string, double>>{{"iterate_map:steps=200,marks=0,restate=0.05,style=plain", 10},
                                                   {"iterate_map:steps=200,marks=0,restate=1,style=plain", 200},
                                                   {"iterate_map:steps=200,marks=0,restate=0,style=plain", 0}}) {
    double count = 0;
    for (uint64_t i = 0; i < 100; ++i) {
      const std::string trace = sample(level, i).trace;
      count += static_cast<double>(std::count(trace.begin(), trace.end(), 'u')) / 100;
    }
    EXPECT_NEAR(count, expected, expected * 0.1) << level;
  }
}

// The register's last written value in a trace is the answer's: changes are never left out.
TEST(Solvers, EveryChangeOfARegisterIsWritten) {
  for (uint64_t i = 0; i < 50; ++i) {
    const TaskItem item = sample("iterate_map:steps=60,marks=5,restate=0,style=plain", i);
    const size_t last = item.trace.rfind('u');
    EXPECT_EQ(last == std::string::npos ? '0' : item.trace[last + 1], item.answer[1]) << item.trace;
  }
}

}  // namespace
}  // namespace throughline

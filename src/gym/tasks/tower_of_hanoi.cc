#include "gym/tasks/tower_of_hanoi.h"

#include "gym/task_text.h"

namespace throughline {
namespace {

constexpr int64_t kMaxDisks = 12;

struct Puzzle {
  int64_t disks = 0;
  char from = 'a', to = 'c';
};

std::optional<Puzzle> read_puzzle(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || text.size() != colon + 4 || text[colon + 2] != '>') return std::nullopt;
  const auto disks = parse_integer(text.substr(0, colon));
  const Puzzle out{disks.value_or(0), text[colon + 1], text[colon + 3]};
  const auto is_peg = [](char c) { return c >= 'a' && c <= 'c'; };
  if (out.disks < 1 || out.disks > kMaxDisks || !is_peg(out.from) || !is_peg(out.to) || out.from == out.to)
    return std::nullopt;
  return out;
}

void solve(int64_t disks, char from, char to, std::string& moves) {
  if (disks == 0) return;
  const char other = static_cast<char>('a' + 'b' + 'c' - from - to);
  solve(disks - 1, from, other, moves);
  moves += from;
  moves += to;
  solve(disks - 1, other, to, moves);
}

// Applies a move to `pegs` (the peg of each disk, smallest first). False if it is not legal.
bool apply(std::string& pegs, char from, char to) {
  if (from == to) return false;
  for (char& peg : pegs) {
    if (peg == from) {
      peg = to;
      return true;
    }
    if (peg == to) return false;  // a smaller disk lies on the goal
  }
  return false;
}

class TowerOfHanoi final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{"tower_of_hanoi",
                 "move a tower of disks; 2^disks - 1 moves",
                 {{.name = "disks", .default_text = "4", .help = "disks", .minimum = 1, .maximum = kMaxDisks},
                  {.name = "restate",
                   .type = OptionType::kNumber,
                   .default_text = "0.5",
                   .help = "probability a move to write the state after it",
                   .minimum = 0,
                   .maximum = 1}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"tower_of_hanoi:disks=2", "tower_of_hanoi:disks=3", "tower_of_hanoi:disks=4", "tower_of_hanoi:disks=6",
            "tower_of_hanoi:disks=8"};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    const auto disks = spec.integer("disks");
    const char from = static_cast<char>('a' + draw.integer(0, 2));
    const char to = static_cast<char>('a' + (from - 'a' + draw.integer(1, 2)) % 3);
    const std::string end = styled(spec, style, {"\n", "; "});
    const std::string mark = styled(spec, style, {"=", " > "});
    std::string moves;
    solve(disks, from, to, moves);
    Draft out;
    out.puzzle = std::to_string(disks) + ":" + from + ">" + to;
    std::string pegs(static_cast<size_t>(disks), from);
    out.trace = pegs;
    for (size_t i = 0; i < moves.size(); i += 2) {
      TL_CHECK(apply(pegs, moves[i], moves[i + 1]), "the solution makes a wrong move");
      out.trace += end + moves.substr(i, 2);
      if (chance(style, spec.number("restate"))) out.trace += mark + pegs;
      out.answer += (i == 0 ? "" : " ") + moves.substr(i, 2);
    }
    return out;
  }

  std::string explanation(const Spec&) const override {
    return "Tower of Hanoi with pegs a, b, c: \"3:a>c\" means that 3 disks lie on peg a and must go to peg c, one disk "
           "a move, "
           "never a larger disk on a smaller one. Answer with the moves, from peg and to peg, separated by spaces (for "
           "example "
           "ac ab cb); use at most twice as many as needed.";
  }

  TaskVerdict judge(std::string_view text, std::string_view, std::string_view given) const override {
    const auto puzzle = read_puzzle(text);
    const std::string moves = remove_chars(given, " ,");
    if (!puzzle || moves.size() % 2 != 0 || moves.find_first_not_of("abc") != std::string::npos)
      return TaskVerdict::kNoAnswer;
    if (moves.size() / 2 > static_cast<size_t>(2 * ((int64_t{1} << puzzle->disks) - 1))) return TaskVerdict::kWrong;
    std::string pegs(static_cast<size_t>(puzzle->disks), puzzle->from);
    for (size_t i = 0; i < moves.size(); i += 2) {
      if (!apply(pegs, moves[i], moves[i + 1])) return TaskVerdict::kWrong;
    }
    return pegs == std::string(pegs.size(), puzzle->to) ? TaskVerdict::kRight : TaskVerdict::kWrong;
  }
};

}  // namespace

std::unique_ptr<const Task> make_tower_of_hanoi() { return std::make_unique<TowerOfHanoi>(); }

}  // namespace throughline

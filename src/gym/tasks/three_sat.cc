#include "gym/tasks/three_sat.h"

#include <array>

#include "gym/task_text.h"

namespace throughline {
namespace {

constexpr int kMaxVariables = 20;  // a..t; fixed-order search at ratio 4.3 stays within thousands of lines
constexpr int kDrawsBeforePlanting = 50;

struct Literal {
  int variable = 0;
  bool negated = false;
};
using Clause = std::array<Literal, 3>;

std::string clause_text(const Clause& clause) {
  std::string out;
  for (const Literal& literal : clause) {
    if (literal.negated) out += '-';
    out += static_cast<char>('a' + literal.variable);
  }
  return out;
}

// The first clause whose three literals are all assigned and false under the prefix; nullptr if none.
const Clause* broken_clause(const std::vector<Clause>& clauses, std::string_view prefix) {
  for (const Clause& clause : clauses) {
    bool broken = true;
    for (const Literal& literal : clause) {
      const auto at = static_cast<size_t>(literal.variable);
      broken = broken && at < prefix.size() && (prefix[at] == '1') == literal.negated;
    }
    if (broken) return &clause;
  }
  return nullptr;
}

// The search of the traces: calls visit(prefix, broken clause or nullptr) per node; the solution, or "" if there is
// none.
template <typename Visit>
std::string search(const std::vector<Clause>& clauses, size_t variables, Visit visit) {
  std::string prefix = "1";
  while (true) {
    const Clause* broken = broken_clause(clauses, prefix);
    visit(prefix, broken);
    if (broken == nullptr && prefix.size() == variables) return prefix;
    if (broken == nullptr) {
      prefix += '1';
      continue;
    }
    while (!prefix.empty() && prefix.back() == '0') prefix.pop_back();
    if (prefix.empty()) return "";
    prefix.back() = '0';
  }
}

struct Puzzle {
  int variables = 0;
  std::vector<Clause> clauses;
};

std::optional<Clause> read_clause(std::string_view text, int variables) {
  Clause clause;
  size_t at = 0;
  for (Literal& literal : clause) {
    literal.negated = at < text.size() && text[at] == '-';
    if (literal.negated) ++at;
    if (at >= text.size() || text[at] < 'a' || text[at] >= 'a' + variables) return std::nullopt;
    literal.variable = text[at++] - 'a';
  }
  if (at != text.size()) return std::nullopt;
  return clause;
}

std::optional<Puzzle> read_puzzle(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || text.size() > 10000) return std::nullopt;
  const auto variables = parse_integer(text.substr(0, colon));
  if (!variables || *variables < 1 || *variables > kMaxVariables) return std::nullopt;
  Puzzle out{static_cast<int>(*variables), {}};
  for (std::string_view part : split_on(text.substr(colon + 1), ',')) {
    const auto clause = read_clause(part, out.variables);
    if (!clause) return std::nullopt;
    out.clauses.push_back(*clause);
  }
  return out;
}

std::vector<Clause> draw_clauses(CounterStream& draw, int variables, int count) {
  std::vector<Clause> clauses(static_cast<size_t>(count));
  for (Clause& clause : clauses) {
    for (size_t i = 0; i < clause.size(); ++i) {
      bool repeated = true;
      while (repeated) {
        clause[i] = {static_cast<int>(draw.integer(0, variables - 1)), chance(draw, 0.5)};
        repeated = false;
        for (size_t j = 0; j < i; ++j) repeated = repeated || clause[j].variable == clause[i].variable;
      }
    }
  }
  return clauses;
}

// Turns one literal of each broken clause, so that a drawn assignment satisfies all.
void plant(CounterStream& draw, std::vector<Clause>& clauses, int variables) {
  std::string hidden;
  for (int i = 0; i < variables; ++i) hidden += chance(draw, 0.5) ? '1' : '0';
  for (Clause& clause : clauses) {
    if (broken_clause({clause}, hidden) == nullptr) continue;
    Literal& literal = clause[static_cast<size_t>(draw.integer(0, 2))];
    literal.negated = !literal.negated;
  }
}

class ThreeSat final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{
        "three_sat",
        "a satisfying assignment of a random 3-SAT formula by search in place (delethink.md E.3)",
        {{.name = "variables", .default_text = "8", .help = "variables", .minimum = 3, .maximum = kMaxVariables},
         {.name = "ratio",
          .type = OptionType::kNumber,
          .default_text = "4.3",
          .help = "clauses a variable; above about 4.3 most formulas must be planted",
          .minimum = 0.5,
          .maximum = 8}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"three_sat:variables=4", "three_sat:variables=6", "three_sat:variables=8", "three_sat:variables=11",
            "three_sat:variables=14"};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    const auto variables = static_cast<int>(spec.integer("variables"));
    const int count = std::max(1, static_cast<int>(spec.number("ratio") * variables + 0.5));
    std::vector<Clause> clauses;
    Draft out;
    for (int i = 0; i < kDrawsBeforePlanting && out.answer.empty(); ++i) {
      clauses = draw_clauses(draw, variables, count);
      out.answer = search(clauses, static_cast<size_t>(variables), [](const std::string&, const Clause*) {});
    }
    if (out.answer.empty()) plant(draw, clauses, variables);
    out.puzzle = std::to_string(variables) + ":";
    for (size_t i = 0; i < clauses.size(); ++i) out.puzzle += (i == 0 ? "" : ",") + clause_text(clauses[i]);

    const std::string end = styled(spec, style, {"\n", "; "});
    const std::string fails = styled(spec, style, {"x ", " no ", " breaks "});
    out.trace = styled(spec, style, {"", "try ", "go "});
    bool first = true;
    out.answer = search(clauses, static_cast<size_t>(variables), [&](const std::string& prefix, const Clause* broken) {
      out.trace += (first ? "" : end) + prefix;
      if (broken != nullptr) out.trace += fails + clause_text(*broken);
      first = false;
    });
    out.trace += styled(spec, style, {" ok", "", " all hold"});
    TL_CHECK(!out.answer.empty(), "the formula has no solution");
    return out;
  }

  std::string explanation(const Spec&) const override {
    return "\"5:ab-c,-ad-e\" means: variables a to e are true (1) or false (0); of each group of three, separated by "
           "commas, at "
           "least one must hold, where a means that a is true and -a that it is false. Find values. Answer with one "
           "digit a "
           "variable, in order (for example 10110).";
  }

  TaskVerdict judge(std::string_view text, std::string_view, std::string_view given) const override {
    const auto puzzle = read_puzzle(text);
    const std::string bits = remove_chars(given, " ");
    if (!puzzle || bits.find_first_not_of("01") != std::string::npos) return TaskVerdict::kNoAnswer;
    if (bits.size() != static_cast<size_t>(puzzle->variables)) return TaskVerdict::kWrong;
    return broken_clause(puzzle->clauses, bits) == nullptr ? TaskVerdict::kRight : TaskVerdict::kWrong;
  }
};

}  // namespace

std::unique_ptr<const Task> make_three_sat() { return std::make_unique<ThreeSat>(); }

}  // namespace throughline

#include "gym/tasks/iterate_map.h"

#include "gym/task_text.h"
#include "gym/tasks/state_map.h"

namespace throughline {
namespace {

constexpr int kRegisterModulus = 10;

struct Mark {
  int target = 0;  // register
  int add = 0;
};

class IterateMap final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{
        "iterate_map",
        "walk over a map of letters; a sparse register changes at marked nodes (delethink.md E.3)",
        {{.name = "steps", .default_text = "32", .help = "steps to walk", .minimum = 1, .maximum = 100000},
         {.name = "states", .default_text = "16", .help = "nodes of the map", .minimum = 2, .maximum = 20},
         {.name = "marks", .default_text = "2", .help = "nodes that change a register", .minimum = 0, .maximum = 20},
         {.name = "registers", .default_text = "1", .help = "registers, modulo 10", .minimum = 1, .maximum = 4},
         {.name = "map",
          .type = OptionType::kChoice,
          .default_text = "cycle",
          .help = "one cycle through all nodes, or any function",
          .choices = {"cycle", "function"}},
         {.name = "restate",
          .type = OptionType::kNumber,
          .default_text = "0.05",
          .help = "probability a step to write an unchanged register in the trace",
          .minimum = 0,
          .maximum = 1}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"iterate_map:steps=8", "iterate_map:steps=16", "iterate_map:steps=32", "iterate_map:steps=128",
            "iterate_map:steps=400"};
  }

  Status validate(const Spec& spec) const override {
    if (spec.integer("marks") > spec.integer("states")) {
      return Error{"marks=" + spec.text("marks") + " is more than states=" + spec.text("states"), "",
                   "mark fewer nodes"};
    }
    return {};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    const StateMap map = StateMap::draw(draw, static_cast<int>(spec.integer("states")), spec.text("map") == "cycle");
    const auto registers = static_cast<int>(spec.integer("registers"));
    const std::vector<Mark> marks = draw_marks(spec, draw);
    const auto steps = spec.integer("steps");
    const char start = static_cast<char>('a' + draw.integer(0, map.states() - 1));
    Draft out;
    out.puzzle = map.text() + ";" + marks_text(marks) + ";" + std::to_string(steps) + start;
    for (int r = 0; r < registers; ++r) out.puzzle += std::string(1, static_cast<char>('u' + r)) + "0";

    const std::string separator = styled(spec, style, {" ", "\n", ", "});
    const std::string equals = styled(spec, style, {"", "="});
    out.trace = styled(spec, style, {"", "go: ", "start: "}) + std::to_string(steps) + start;
    std::vector<int> values(static_cast<size_t>(registers), 0);
    char node = start;
    for (int64_t left = steps - 1; left >= 0; --left) {
      node = map.next(node);
      out.trace += separator + std::to_string(left) + node;
      const Mark mark = marks[static_cast<size_t>(node - 'a')];
      if (mark.add != 0) values[mark.target] = (values[mark.target] + mark.add) % kRegisterModulus;
      for (int r = 0; r < registers; ++r) {
        const bool changed = mark.add != 0 && mark.target == r;
        if (chance(style, spec.number("restate")) || changed) {
          out.trace += static_cast<char>('u' + r) + equals + std::to_string(values[r]);
        }
      }
    }
    out.answer = std::string(1, node);
    for (int value : values) out.answer += std::to_string(value);
    return out;
  }

  std::string explanation(const Spec& spec) const override {
    const bool many = spec.integer("registers") > 1;
    return std::string(
               "The first part of the line below gives arrows: \"ag\" means that from node a you go to node g. ") +
           "The second part gives marks: \"fu3\" means that arriving at node f adds 3 to register u, modulo 10. " +
           "The last part is the start: \"40au0\" means 40 steps to go, at node a, register u holds 0. Walk, and "
           "answer with the " +
           "final node followed by the final value of " + (many ? "each register in order" : "the register") +
           ", without spaces (for example " + (many ? "g37" : "g3") + ").";
  }

  TaskVerdict judge(std::string_view, std::string_view answer, std::string_view given) const override {
    return judge_exact(answer, given, "abcdefghijklmnopqrst0123456789");
  }

 private:
  // One entry a state; add = 0: not marked.
  static std::vector<Mark> draw_marks(const Spec& spec, CounterStream& draw) {
    std::vector<Mark> marks(static_cast<size_t>(spec.integer("states")));
    std::vector<size_t> order(marks.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    shuffle(draw, order);
    for (int64_t i = 0; i < spec.integer("marks"); ++i) {
      marks[order[i]] = Mark{static_cast<int>(i % spec.integer("registers")),
                             static_cast<int>(draw.integer(1, kRegisterModulus - 1))};
    }
    return marks;
  }

  static std::string marks_text(const std::vector<Mark>& marks) {
    std::string out;
    for (size_t i = 0; i < marks.size(); ++i) {
      if (marks[i].add == 0) continue;
      if (!out.empty()) out += ' ';
      out += static_cast<char>('a' + i);
      out += static_cast<char>('u' + marks[i].target);
      out += std::to_string(marks[i].add);
    }
    return out;
  }
};

}  // namespace

std::unique_ptr<const Task> make_iterate_map() { return std::make_unique<IterateMap>(); }

}  // namespace throughline

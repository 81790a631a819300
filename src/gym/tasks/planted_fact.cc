#include "gym/tasks/planted_fact.h"

#include "gym/task_text.h"
#include "gym/tasks/state_map.h"

namespace throughline {
namespace {

class PlantedFact final : public Task {
 public:
  SpecInfo info() const override {
    SpecInfo out{"planted_fact",
                 "a fact stated early, a long walk over a map, then both are asked for",
                 {{.name = "steps",
                   .default_text = "32",
                   .help = "steps to walk: the fact's distance",
                   .minimum = 1,
                   .maximum = 100000},
                  {.name = "fact", .default_text = "3", .help = "length of the fact", .minimum = 1, .maximum = 16},
                  {.name = "states", .default_text = "16", .help = "nodes of the map", .minimum = 2, .maximum = 20},
                  {.name = "place",
                   .type = OptionType::kChoice,
                   .default_text = "thinking",
                   .help = "the fact is the first nodes visited, or a code in the prompt",
                   .choices = {"thinking", "prompt"}},
                  {.name = "restate",
                   .type = OptionType::kNumber,
                   .default_text = "0.05",
                   .help = "probability a step to state the fact again in the trace",
                   .minimum = 0,
                   .maximum = 1}}};
    for (auto& option : common_options()) out.options.push_back(option);
    return out;
  }

  std::vector<std::string> ladder() const override {
    return {"planted_fact:steps=8", "planted_fact:steps=32", "planted_fact:steps=128", "planted_fact:steps=400"};
  }

  Status validate(const Spec& spec) const override {
    if (spec.text("place") == "thinking" && spec.integer("fact") > spec.integer("steps")) {
      return Error{"fact=" + spec.text("fact") + " is longer than the walk (steps=" + spec.text("steps") + ")", "",
                   "walk further"};
    }
    return {};
  }

 protected:
  Draft draft(const Spec& spec, CounterStream& draw, CounterStream& style) const override {
    const StateMap map = StateMap::draw(draw, static_cast<int>(spec.integer("states")), /*cycle=*/true);
    const auto steps = spec.integer("steps"), length = spec.integer("fact");
    const bool in_prompt = spec.text("place") == "prompt";
    const char start = static_cast<char>('a' + draw.integer(0, map.states() - 1));
    std::string fact;
    char node = start;
    for (int64_t i = 0; i < length; ++i) {
      node = map.next(node);
      fact += in_prompt ? static_cast<char>('0' + draw.integer(0, 9)) : node;
    }
    Draft out;
    out.puzzle =
        map.text() + ";" + start + std::to_string(steps) + ";" + (in_prompt ? "f" + fact : std::to_string(length));

    const std::string separator = styled(spec, style, {" ", "\n", ", "});
    const std::string mark = styled(spec, style, {"f", "f=", "fact "});
    out.trace = (in_prompt ? mark + fact + separator : "") + std::to_string(steps) + start;
    node = start;
    for (int64_t left = steps - 1; left >= 0; --left) {
      node = map.next(node);
      out.trace += separator + std::to_string(left) + node;
      const bool planted = !in_prompt && left == steps - length;
      const bool known = in_prompt || left <= steps - length;
      if (planted || (chance(style, spec.number("restate")) && known)) out.trace += mark + fact;
    }
    out.answer = node + fact;
    return out;
  }

  std::string explanation(const Spec& spec) const override {
    const std::string walk =
        "The first part of the line below gives arrows: \"ag\" means that from node a you go to node g. The second "
        "part gives "
        "the start node and the number of steps. Walk. ";
    if (spec.text("place") == "prompt")
      return walk + "The last part is f and a code. Answer with the final node followed by the code, without spaces.";
    return walk +
           "The last part is a count n. Answer with the final node followed by the first n nodes you arrived at, "
           "without spaces.";
  }

  TaskVerdict judge(std::string_view, std::string_view answer, std::string_view given) const override {
    return judge_exact(answer, given, "abcdefghijklmnopqrst0123456789");
  }
};

}  // namespace

std::unique_ptr<const Task> make_planted_fact() { return std::make_unique<PlantedFact>(); }

}  // namespace throughline

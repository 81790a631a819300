// libFuzzer: the LaTeX parser on any bytes. No crash, no leak, no input over 10 ms, steps within the budget.
// rooms: gym text base
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gym/answer/parser.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace throughline::answer;
  const auto start = std::chrono::steady_clock::now();
  ParseOptions options;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (!text.empty()) {
    options.lex.bare_pi = (text[0] & 1) != 0;
    options.lex.plain_functions = (text[0] & 2) != 0;
    options.mixed_numbers = (text[0] & 4) != 0;
    options.units = (text[0] & 8) != 0;
    text.remove_prefix(1);
  }
  constexpr int64_t kBudget = 20000;
  Steps steps(kBudget);
  const Tree tree = parse_answer(text, options, &steps);
  if (tree.root != kNoNode) {
    if (tree.root < 0 || static_cast<size_t>(tree.root) >= tree.nodes.size()) std::abort();
    for (size_t i = 0; i < tree.nodes.size(); ++i) {
      for (const NodeId kid : tree.nodes[i].kids) {
        if (kid != kNoNode && (kid < 0 || static_cast<size_t>(kid) >= i)) std::abort();  // children come first
      }
    }
    (void)to_text(tree, tree.root);
  }
  if (steps.used() > 2 * kBudget) std::abort();
  const auto spent = std::chrono::steady_clock::now() - start;
  if (spent > std::chrono::milliseconds(10)) std::abort();
  return 0;
}

// libFuzzer: the LaTeX parser on any bytes. No crash, no leak, no input over 20 ms, steps within the budget.
// The first byte chooses the options.
// rooms: gym text base
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "gym/answer/parser.h"
#include "thread_time.h"

namespace {

constexpr int64_t kBudget = 20000;

void check(const throughline::answer::Tree& tree) {
  using namespace throughline::answer;
  if (tree.root < 0 || static_cast<size_t>(tree.root) >= tree.nodes.size()) std::abort();
  for (size_t i = 0; i < tree.nodes.size(); ++i) {
    for (const NodeId kid : tree.nodes[i].kids) {
      if (kid != kNoNode && (kid < 0 || static_cast<size_t>(kid) >= i)) std::abort();  // children come first
    }
  }
  (void)to_text(tree, tree.root);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace throughline::answer;
  ParseOptions options;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (!text.empty()) {
    options.lex.bare_pi = (text[0] & 1) != 0;
    options.lex.plain_functions = (text[0] & 2) != 0;
    options.mixed_numbers = (text[0] & 4) != 0;
    options.units = (text[0] & 8) != 0;
    text.remove_prefix(1);
  }
  int64_t best = INT64_MAX;
  for (int attempt = 0; attempt < kAttempts && best > kInputLimitNs; ++attempt) {
    const int64_t start = thread_time_ns();
    Steps steps(kBudget);
    const Tree tree = parse_answer(text, options, &steps);
    if (tree.root != kNoNode) check(tree);
    if (steps.used() > 2 * kBudget) std::abort();
    const int64_t spent = thread_time_ns() - start;
    best = spent < best ? spent : best;
  }
  if (best > kInputLimitNs) {
    std::fprintf(stderr, "%lld us\n", static_cast<long long>(best / 1000));
    std::abort();
  }
  return 0;
}

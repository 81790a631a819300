// Lookup speculation: whether and how far each decode step also runs drafts (engine/lookup_drafter.h).
//
// A step may feed a sample, behind its newest id, ids that it has not drawn yet. Their logits are there when their turn
// comes: the sampler draws row by row as ever, with the history and the random number of each place, and as long as it
// draws what was fed, the next row is already computed (Engine::State::sample). So the ids are those of decoding one by
// one wherever the logits are: always under --exact, and in fast mode too while a step has no more than kMostRows rows,
// whose products do not depend on their number.
// A row of a step is not free, so `adaptive` drafts only as far as the chance that a row is accepted exceeds its cost.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace throughline {

struct SpeculationOptions {
  int64_t num_speculative_tokens = 16;  // drafts of a sample in a step at most; 0: off
  bool adaptive = true;                 // false: always so many, where there is a match
  int64_t prompt_lookup_min = 2;        // ids that must match
  int64_t prompt_lookup_max = 4;        // longest n-gram looked up
};

// "off", "auto" or a number of drafts, as --speculate takes them.
Result<SpeculationOptions> parse_speculation(std::string_view text, const std::string& where);
constexpr int64_t kMostRows = 31;  // of a step with drafts (ops/products.cc: fp32 changes kernels at 32)

Status check_speculation(const SpeculationOptions& options, const std::string& where);

// What one more row of a decode step costs, in tokens: its time over the step's time a token. Learned from the steps'
// times by a running regression on their rows; while rows do not vary, by what is usual.
class RowCost {
 public:
  void learn(int64_t rows, double seconds);
  double of(int64_t sequences) const;  // of one more row beside one row for each of so many sequences

 private:
  double seconds_per_row() const;
  double mean_rows_ = 0, mean_seconds_ = 0, variance_ = 0, covariance_ = 0;
};

}  // namespace throughline

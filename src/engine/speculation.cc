#include "engine/speculation.h"

#include <algorithm>
#include <charconv>

#include "cache/sequence_cache.h"
#include "engine/lookup_drafter.h"

namespace throughline {
namespace {

constexpr double kUsualCost = 0.3;     // of a second row beside one, in tokens
constexpr double kUsualWeight = 0.25;  // against what was measured: as so much variance of the rows
constexpr double kLearningRate = 1.0 / 32;
constexpr double kOutlier = 3;  // a step takes at most so many times what is expected: the rest is somebody else's

}  // namespace

Result<SpeculationOptions> parse_speculation(std::string_view text, const std::string& where) {
  SpeculationOptions out;
  if (text == "auto") return out;
  out.adaptive = false;
  out.num_speculative_tokens = 0;
  if (text == "off") return out;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out.num_speculative_tokens);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Error{"\"" + std::string(text) + "\" is neither off nor auto nor a number of draft tokens", where,
                 "use auto"};
  }
  return out;
}

Status check_speculation(const SpeculationOptions& options, const std::string& where) {
  if (options.num_speculative_tokens < 0 || options.num_speculative_tokens > kMaxUncommittedRows) {
    return Error{std::to_string(options.num_speculative_tokens) + " draft tokens are out of range", where,
                 "use 0 to " + std::to_string(kMaxUncommittedRows)};
  }
  if (options.prompt_lookup_min < 1 || options.prompt_lookup_min > options.prompt_lookup_max ||
      options.prompt_lookup_max > LookupIndex::kLongestNgram) {
    return Error{"n-grams of " + std::to_string(options.prompt_lookup_min) + " to " +
                     std::to_string(options.prompt_lookup_max) + " ids are out of range",
                 "--prompt-lookup-min, --prompt-lookup-max",
                 "use 1 <= min <= max <= " + std::to_string(LookupIndex::kLongestNgram)};
  }
  return {};
}

double RowCost::seconds_per_row() const {
  if (mean_rows_ == 0) return 0;
  const double usual = kUsualCost * mean_seconds_ / (1 + kUsualCost * (mean_rows_ - 1));
  const double slope = (covariance_ + kUsualWeight * usual) / (variance_ + kUsualWeight);
  return std::clamp(slope, 0.0, mean_seconds_ / mean_rows_);
}

void RowCost::learn(int64_t rows, double seconds) {
  const auto x = static_cast<double>(rows);
  if (mean_rows_ == 0) {
    mean_rows_ = x;
    mean_seconds_ = seconds;
    return;
  }
  const double expected = mean_seconds_ + seconds_per_row() * (x - mean_rows_);
  const double dx = x - mean_rows_, dy = std::min(seconds, kOutlier * expected) - mean_seconds_;
  mean_rows_ += kLearningRate * dx;
  mean_seconds_ += kLearningRate * dy;
  variance_ = (1 - kLearningRate) * (variance_ + kLearningRate * dx * dx);
  covariance_ = (1 - kLearningRate) * (covariance_ + kLearningRate * dx * dy);
}

double RowCost::of(int64_t sequences) const {
  if (mean_rows_ == 0) return kUsualCost;
  const auto rows = static_cast<double>(sequences);
  const double row = seconds_per_row();
  const double step = mean_seconds_ + row * (rows - mean_rows_);
  return row * rows / std::max(step, row * rows);
}

}  // namespace throughline

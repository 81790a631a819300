#include "train/token_loss.h"

#include <algorithm>
#include <cmath>

namespace throughline {
namespace {

// clamp(x) and whether its slope is 1 (at the limits it is, as in torch).
struct Clamped {
  double value;
  double slope;
};
Clamped clamp(double x, double low, double high) {
  return {std::clamp(x, low, high), x >= low && x <= high ? 1.0 : 0.0};
}

double mismatch_weight(const TokenLogprobSet& logprobs, const TokenLossOptions& options) {
  if (options.correction == MismatchCorrection::kNone) return 1;
  const double ratio = std::exp(logprobs.old - logprobs.behavior);
  if (options.correction == MismatchCorrection::kTruncate) return std::min(ratio, options.correction_cap);
  return ratio <= options.correction_cap && ratio * options.correction_cap >= 1 ? 1 : 0;
}

void add_kl(const TokenLogprobSet& logprobs, const TokenLossOptions& options, TokenLoss& out) {
  const Clamped x = clamp(logprobs.reference - logprobs.logprob, -options.log_ratio_limit, options.log_ratio_limit);
  out.kl = std::exp(x.value) - x.value - 1;
  out.loss += options.kl_coefficient * out.kl;
  out.slope += options.kl_coefficient * (std::exp(x.value) - 1) * -x.slope;
}

}  // namespace

TokenLoss token_loss(const TokenLogprobSet& logprobs, double advantage, const TokenLossOptions& options) {
  TokenLoss out;
  if (options.kind == TokenLossKind::kCrossEntropy) {
    out.loss = -logprobs.logprob;
    out.slope = -1;
    return out;
  }
  const Clamped d = clamp(logprobs.logprob - logprobs.old, -options.log_ratio_limit, options.log_ratio_limit);
  const double ratio = std::exp(d.value);
  const Clamped clipped_ratio = clamp(ratio, 1 - options.clip_low, 1 + options.clip_high);
  const double plain = -advantage * ratio, clipped = -advantage * clipped_ratio.value;
  const double plain_slope = -advantage * ratio * d.slope;
  out.clipped = clipped > plain;
  out.loss = out.clipped ? clipped : plain;
  out.slope = out.clipped ? plain_slope * clipped_ratio.slope : plain_slope;
  if (advantage < 0 && options.dual_clip > 0 && -advantage * options.dual_clip < out.loss) {
    out.loss = -advantage * options.dual_clip;
    out.slope = 0;
    out.clipped = true;
  }
  out.correction = mismatch_weight(logprobs, options);
  out.loss *= out.correction;
  out.slope *= out.correction;
  if (options.kl_coefficient > 0) add_kl(logprobs, options, out);
  return out;
}

}  // namespace throughline

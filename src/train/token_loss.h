// The loss of one trained token and its slope in the token's log-prob. Pure functions of doubles, no tensors: the
// update takes log-probs out of the graph, asks here, and sends the slopes back in.
//
// Policy gradient as Delethink's trainer has it (research/delethink.md A.4), A the advantage of the trace:
//   d = clamp(logprob - old, +-limit), r = exp(d), l = max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high));
//   A < 0: l = min(l, -A dual_clip);  l *= w, w = min(exp(old - behavior), cap) (constant, no slope);
//   l += kl_coefficient * k3(clamp(reference - logprob, +-limit)),  k3(x) = exp(x) - x - 1.
// Sources: PPO (arXiv 1707.06347), DAPO's clip-higher (2503.14476), dual clip (1912.09729), truncated importance
// sampling (verl PR 2953), k3 (Schulman 2020, "Approximating KL divergence").
#pragma once

namespace throughline {

enum class TokenLossKind {
  kPolicyGradient,
  kCrossEntropy,  // -logprob (SFT); the advantage and the other log-probs are not looked at
};

// What is done about a sampler whose log-probs differ from the trainer's (exp(old - behavior) is not 1).
enum class MismatchCorrection {
  kNone,
  kTruncate,  // weight min(ratio, cap)
  kMask,      // weight 1 where 1/cap <= ratio <= cap, else 0
};

struct TokenLossOptions {
  TokenLossKind kind = TokenLossKind::kPolicyGradient;
  double clip_low = 0.20;
  double clip_high = 0.26;
  double dual_clip = 3;  // 0: off
  MismatchCorrection correction = MismatchCorrection::kTruncate;
  double correction_cap = 2;
  double kl_coefficient = 0;
  double log_ratio_limit = 20;
};

struct TokenLogprobSet {
  double logprob = 0;    // under the weights being trained
  double old = 0;        // at the start of the update
  double behavior = 0;   // what the sampler reported
  double reference = 0;  // of the reference model; looked at only with kl_coefficient > 0
};

struct TokenLoss {
  double loss = 0;
  double slope = 0;       // d loss / d logprob
  bool clipped = false;   // the ratio's clip or the dual clip decided the loss
  double kl = 0;          // k3, 0 without a reference
  double correction = 1;  // w
};
TokenLoss token_loss(const TokenLogprobSet& logprobs, double advantage, const TokenLossOptions& options);

}  // namespace throughline

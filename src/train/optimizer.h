// AdamW (Loshchilov and Hutter, arXiv 1711.05101) over a range of a Trainable's flat vector, through ATen's fused op.
//
// State: first and second moment, and fp32 masters when the values are not fp32; all fp32, of the own range only
// (ZeRO-1: each process owns one range; one process owns all). The gradient norm is summed over blocks of
// Trainable::kShardAlign elements, each in a fixed order, the blocks in order: not a function of threads or ranges.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "train/trainable.h"

namespace throughline {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;   // decoupled; matrices only
  double max_grad_norm = 1;  // global; 0: no clip
};

// Square sums of the blocks of numbers [n] (fp32) in double; the last block may be short.
std::vector<double> block_square_sums(const at::Tensor& numbers);
double norm_of_blocks(const std::vector<double>& blocks);

class Optimizer {
 public:
  // `trainable` must outlive this. Owns elements [begin, end) of its values; -1: to the end. REQUIRES: begin and end
  // are multiples of Trainable::kShardAlign or the end.
  Optimizer(Trainable* trainable, const AdamWOptions& options, int64_t begin = 0, int64_t end = -1);

  // One update of the own range with the trainable's gradients scaled by `gradient_scale` (1, or the clip's factor).
  // Does not call published().
  void step(double learning_rate, double gradient_scale);
  // The clip's factor for a gradient norm: min(1, max_grad_norm / norm).
  double clip_scale(double norm) const;

  // Whether every value of the own range is. One pass over the masters, a small part of step().
  bool values_finite() const;

  int64_t begin() const { return begin_; }
  int64_t end() const { return end_; }
  int64_t steps() const { return steps_; }
  int64_t state_bytes() const;

  // Names: "step" (int64 scalar), "exp_avg", "exp_avg_sq", "master" ([end - begin] fp32). The tensors are the state
  // itself, not copies.
  std::vector<std::pair<std::string, at::Tensor>> state() const;
  // Copies in. The error names a tensor that is missing or of another size or dtype.
  Status restore(const std::vector<std::pair<std::string, at::Tensor>>& state, const std::string& where);
  // After the values were changed from outside (a checkpoint was loaded): masters follow them.
  void reset_masters();

 private:
  struct Span {  // of the own range, relative to begin_
    int64_t from, to;
    bool decays;
  };
  Trainable* trainable_;
  AdamWOptions options_;
  int64_t begin_, end_, steps_ = 0;
  std::vector<Span> spans_;
  at::Tensor first_, second_, master_;  // master_ is the values themselves when those are fp32
};

}  // namespace throughline

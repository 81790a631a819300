// Held-out items, sampled as the recipe samples, and judged. The same items and draws every time: numbers of different
// steps differ by the weights alone.
#pragma once

#include "train/train_run.h"

namespace throughline {

// Sets eval_accuracy, eval_tokens_mean and eval_truncated, and for SFT eval_loss, each name with `suffix` behind it.
Status evaluate(TrainRun& run, const std::string& suffix, StepMetrics& out);

}  // namespace throughline

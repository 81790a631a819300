// Supervised fine-tuning: right responses into rows, the loss on the response only.
//
// A response is cut into rows as the recipe's environment would have cut it while sampling, so that a model
// warm-started for Delethink has seen prompts that carry a tail. The loss is the mean cross-entropy of the step's
// response tokens.
#pragma once

#include "train/train_run.h"

namespace throughline {

// One step: sft.items items, one optimizer step.
Result<StepMetrics> sft_step(TrainRun& run);

// Rows of an item's right response. `trace` numbers it in its optimizer step. Empty: the environment's chunks cannot
// hold it or the context is too short (it is left out as a whole, and counted).
Result<std::vector<TrainRow>> rows_of_item(const TrainModel& model, const Environment& environment,
                                           const TrainItem& item, int64_t max_context, int64_t trace);

// Mean cross-entropy of the right responses of items, without gradient.
Result<double> held_out_loss(const TrainRun& run, std::span<const TrainItem> items);

}  // namespace throughline

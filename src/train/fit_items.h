// Whether a file's items suit the model, once before the first step: a prompt that leaves no room in the context would
// end a run in its middle.
#pragma once

#include <functional>
#include <string>

#include "train/rollout.h"
#include "train/train_items.h"
#include "train/train_model.h"

namespace throughline {

// Leaves out what cannot be sampled by `sampler` and says how many lines of which file. Errors: nothing is left of a
// file.
Status fit_file_items(TrainItems& items, const TrainModel& model, const RolloutEngine& sampler,
                      const std::function<void(const std::string&)>& say);

}  // namespace throughline

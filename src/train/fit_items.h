// Whether a file's items suit the model, once before the first step: a prompt that leaves no room in the context would
// end a run in its middle, and characters that the tokenizer does not know vanish without a word.
//
// Marks and white space are not missed: tokenizers may normalise them.
#pragma once

#include <functional>
#include <string>

#include "train/rollout.h"
#include "train/train_items.h"
#include "train/train_model.h"

namespace throughline {

struct ItemUse {
  const RolloutEngine* sampler = nullptr;  // null: the prompts are not sampled from
  bool teaches = false;                    // the second text is a response, read by the model too
};

// Leaves out what cannot be sampled, and says so in a line a file, as it says how many lines lose characters. Errors:
// nothing is left of a file.
Status fit_file_items(TrainItems& items, const TrainModel& model, const ItemUse& use,
                      const std::function<void(const std::string&)>& say);

bool loses_characters(const Tokenizer& tokenizer, std::string_view text);

}  // namespace throughline

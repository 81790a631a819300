// Checkpoints: checkpoints/step-N/ is a Hugging Face directory (weights, config, tokenizer files) beside what the
// trainer needs to go on bit for bit: optimizer.safetensors and state.json.
//
// Written under a temporary name, synced, then renamed: a folder named step-N is whole, or was damaged later.
// state.json comes last and holds every file's size and checksum; load_newest() checks them and falls back to the
// checkpoint before, with a warning, when they do not fit. A failed write leaves the older checkpoints alone.
// Several processes write one checkpoint: each its range of the optimizer's state, as optimizer-K-of-N.safetensors with
// a tensor "range" (int64 [2]: elements from, to), rank 0 all else. Any number of processes can resume from it. The
// folder must be on a file system that all processes share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "dist/process_group.h"
#include "dist/shard.h"
#include "model/decoder.h"

namespace throughline {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

struct CheckpointContent {
  int64_t step = 0;
  Json state;                  // object: what the loop wants back
  NamedTensors optimizer;      // to save; fp32, bf16 or int64: scalars, and [range] of the flat values
  ShardRange optimizer_range;  // of this process
};

// `tokenizer_dir`: where tokenizer, template and generation files are copied from; empty: none. `keep`: newest ones
// that stay, 0: all; those of later steps than this one, which the run went back behind, count as the oldest. Returns
// the folder. All processes of `group` (null: one) call it and get the same outcome.
Result<std::string> save_checkpoint(const std::string& checkpoints, const CheckpointContent& content,
                                    const Decoder& decoder, const std::string& tokenizer_dir, int64_t keep,
                                    ProcessGroup* group = nullptr);

struct FoundCheckpoint {
  std::string path;  // a Hugging Face directory
  int64_t step = 0;
  Json state;
};
// The newest whole one; nullopt when there is none at all. Every one damaged: an Error. `warn` hears of damaged ones
// and removes nothing.
Result<std::optional<FoundCheckpoint>> load_newest_checkpoint(const std::string& checkpoints,
                                                              const std::function<void(const std::string&)>& warn);
// The optimizer's state of elements [begin, end), whoever wrote it in whatever parts.
Result<NamedTensors> load_optimizer_state(const std::string& folder, ShardRange range);
// Whether the folder is whole: the Error says which file is not.
Status check_checkpoint(const std::string& folder);

// The files of a model directory that are not weights nor config.json; those that are there are copied.
Status copy_tokenizer_files(const std::string& from, const std::string& to);

}  // namespace throughline

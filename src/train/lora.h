// LoRA (Hu et al., arXiv 2106.09685), kept wholly beside the decoder: W = W0 + (alpha / rank) B A.
//
// The decoder's weights are the merged ones, so what samples is what trains, bit for bit. The gradient of a merged
// weight is projected onto A [rank, in] and B [out, rank] the moment a backward pass has it, and freed:
// dB += s dW A^T, dA += s B^T dW. Weights that are no target are frozen. A starts uniform within 1/sqrt(in) (as PEFT),
// B at zero. A and B are fp32; the merge is computed in fp32 and rounded once to the weights' dtype. W0 stays in the
// checkpoint's file map where the decoder had not copied it yet. Adapters are saved and read as PEFT names them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/trainable.h"

namespace throughline {

struct LoraOptions {
  int64_t rank = 8;
  double alpha = 16;  // the update is scaled by alpha / rank
  // Last but one part of the weight's name, as PEFT's target_modules.
  std::vector<std::string> targets = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
  uint64_t seed = 0;  // of A
};

class LoraTrainable : public Trainable {
 public:
  // Makes the decoder trainable and freezes what is no target. `decoder` must outlive this. Errors: a target that
  // matches no weight, a rank out of range; `where` names the place.
  static Result<std::unique_ptr<LoraTrainable>> create(Decoder* decoder, const LoraOptions& options,
                                                       const std::string& where);
  ~LoraTrainable() override;

  const std::vector<FlatPart>& parts() const override { return parts_; }
  at::Tensor values() const override { return values_; }
  at::Tensor gradients() const override { return gradients_; }
  void published() override;  // merges anew

  // adapter_config.json and adapter_model.safetensors. `base_model`: what base_model_name_or_path says.
  Status save_adapter(const std::string& folder, const std::string& base_model) const;
  // Reads A and B of the same rank and targets, and merges.
  Status load_adapter(const std::string& folder);

 private:
  struct Pair {
    at::Tensor weight;    // the decoder's leaf, merged
    at::Tensor original;  // W0
    at::Tensor a, b, grad_a, grad_b;
  };
  struct Project;
  LoraTrainable() = default;
  void merge(const Pair& pair) const;
  LoraOptions options_;
  double scale_ = 1;
  std::vector<FlatPart> parts_;  // A and B of each pair, in turn
  std::vector<Pair> pairs_;
  at::Tensor values_, gradients_;
};

}  // namespace throughline

// What an optimizer works on: all trained numbers of a model in one flat vector, and their gradients in another.
//
// values [n] in the weights' dtype, gradients [n] fp32, both contiguous, in the order of parts(). A process of a
// sharded run updates a range of elements (multiples of kShardAlign), the ranges are then gathered in place, and
// published() tells the model. Full fine-tuning: values are the decoder's own weights. LoRA (lora.h): they are A and B.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/decoder.h"

namespace throughline {

struct FlatPart {
  std::string name;  // Hugging Face's, or PEFT's
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // elements
  bool decays = true;          // weight decay applies: matrices, not norms and biases
};

class Trainable {
 public:
  static constexpr int64_t kShardAlign = 16384;  // elements; also the block of the gradient norm's fixed order
  virtual ~Trainable() = default;
  virtual const std::vector<FlatPart>& parts() const = 0;
  virtual at::Tensor values() const = 0;
  // Sums of all backward passes since zero_gradients().
  virtual at::Tensor gradients() const = 0;
  void zero_gradients();
  // The values have changed: make the decoder's weights follow.
  virtual void published() = 0;
  int64_t size() const { return values().numel(); }
};

// Every weight of the decoder. A weight's gradient is added to gradients() in fp32 as soon as a backward pass has it,
// and freed.
class FullTrainable : public Trainable {
 public:
  // Calls decoder->make_trainable(). `decoder` must outlive this.
  explicit FullTrainable(Decoder* decoder);
  ~FullTrainable() override;
  FullTrainable(const FullTrainable&) = delete;
  FullTrainable& operator=(const FullTrainable&) = delete;
  const std::vector<FlatPart>& parts() const override { return parts_; }
  at::Tensor values() const override { return values_; }
  at::Tensor gradients() const override { return gradients_; }
  void published() override {}

 private:
  std::vector<FlatPart> parts_;
  std::vector<at::Tensor> leaves_;
  at::Tensor values_, gradients_;
};

}  // namespace throughline

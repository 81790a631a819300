// Steps of many sequences through a small fp32 decoder, fast mode: rollouts.
//
// Weights lie packed for ops/cpu/panel_gemm.h. Sequences do not meet within a step, so each task of the pool takes some
// sequences' rows through all layers by itself, its activations in its core's L2, with no pass over all rows between.
// Against the decoder's own way the sums round differently, as fast mode may. rows [rows] are those of the step.
//
// The matrices are copied at construction: they must not change while this is used. Everything else is read where it
// lies, so the decoder must outlive it. Any thread, one step at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "cache/step_attention.h"
#include "model/decoder.h"

namespace throughline {

class PackedDecoder {
 public:
  // fp32 on the CPU, not quantized, and small: the packed copy is as large as the weights.
  static bool suits(const Decoder& decoder);
  explicit PackedDecoder(const Decoder& decoder);

  // Fewer rows sum as ops/products.h does, in fast mode too: lookup speculation counts on it.
  static constexpr int64_t kLeastRows = 32;
  // Whether this step is faster here: sequences enough to share out over the threads.
  static bool takes(const StepAttention& attention);
  // As Decoder::forward(). REQUIRES: takes(attention).
  at::Tensor forward(const at::Tensor& ids, StepAttention& attention) const;
  // As Decoder::logits(). REQUIRES: kLeastRows or more, for the same reason.
  at::Tensor logits(const at::Tensor& hidden) const;

 private:
  struct Matrix {  // [out, in] in panels
    at::Tensor memory;
    const float* panels = nullptr;
    const float* bias = nullptr;
    int64_t out = 0, in = 0;

    // y [rows, out] = x W^T + bias, plus `add` (null: nothing; may be y).
    void multiply(const float* x, int64_t rows, const float* add, float* y) const;
  };
  struct Layer {
    Matrix q, k, v, o, gate, up, down;
  };
  struct Rows;

  static Matrix pack(const at::Tensor& weight, const at::Tensor& bias);
  void run_layer(int64_t layer, const Rows& rows, StepAttention& attention) const;
  void run_ffn(int64_t layer, const Rows& rows) const;

  const Decoder& decoder_;
  std::vector<Layer> layers_;
  Matrix head_;
};

}  // namespace throughline

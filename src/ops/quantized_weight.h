// A linear layer's weight in int8 or int4, in the layout that ops/cpu/quantized_gemm.h reads and files hold
// (docs/quantization.md): values uint8 [panels, words, 16, 4], scales fp32 [panels * 16] (int8) or bf16
// [panels, groups, 16] (int4). For inference on the CPU.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/DimVector.h>

#include <cstdint>

namespace throughline::ops {

enum class WeightFormat { kPlain, kInt8, kInt4 };

struct QuantizedShape {
  at::DimVector values, scales;
};
// Of a weight [out, in].
QuantizedShape quantized_shape(WeightFormat format, int64_t out, int64_t in);

struct QuantizedWeight {
  at::Tensor values, scales;
};
// weight [out, in] fp32 or bf16, contiguous. Pure function of its numbers.
QuantizedWeight quantize_weight(const at::Tensor& weight, WeightFormat format);
// Back to [out, in] fp32.
at::Tensor dequantize_weight(const QuantizedWeight& weight, WeightFormat format, int64_t out, int64_t in);
// Rows `ids` (int64 [n]) as [n, in] of `type` (fp32 or bf16): an embedding.
at::Tensor quantized_rows(const QuantizedWeight& weight, WeightFormat format, const at::Tensor& ids, int64_t in,
                          at::ScalarType type);

}  // namespace throughline::ops

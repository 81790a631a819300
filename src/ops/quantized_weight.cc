#include "ops/quantized_weight.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/result.h"
#include "ops/autograd.h"
#include "ops/cpu/quantized_gemm.h"
#include "ops/huge_pages.h"
#include "ops/parallel.h"
#include "ops/row_kernels.h"

namespace throughline::ops {
namespace {

using kernels::kPanelRows;
using kernels::kQuantGroup;

int64_t padded_depth(int64_t in) { return (in + kQuantGroup - 1) / kQuantGroup * kQuantGroup; }
int64_t panels_of(int64_t out) { return (out + kPanelRows - 1) / kPanelRows; }

// Sizes of one panel in elements.
struct PanelSize {
  int64_t values, scales;
  PanelSize(WeightFormat format, int64_t in)
      : values(padded_depth(in) * kPanelRows / (format == WeightFormat::kInt4 ? 2 : 1)),
        scales(format == WeightFormat::kInt4 ? padded_depth(in) / kQuantGroup * kPanelRows : kPanelRows) {}
};

}  // namespace

QuantizedShape quantized_shape(WeightFormat format, int64_t out, int64_t in) {
  TL_CHECK(format != WeightFormat::kPlain, "a plain weight has no quantized shape");
  const int64_t panels = panels_of(out), depth = padded_depth(in);
  if (format == WeightFormat::kInt8) return {{panels, depth / 4, kPanelRows, 4}, {panels * kPanelRows}};
  return {{panels, depth / 8, kPanelRows, 4}, {panels, depth / kQuantGroup, kPanelRows}};
}

QuantizedWeight quantize_weight(const at::Tensor& weight, WeightFormat format) {
  check_element_type(weight, "quantize_weight");
  TL_CHECK(weight.dim() == 2 && weight.is_contiguous(), "quantize_weight: wants a contiguous matrix");
  const int64_t out = weight.size(0), in = weight.size(1);
  const QuantizedShape shape = quantized_shape(format, out, in);
  const PanelSize size(format, in);
  QuantizedWeight q{empty_in_huge_pages(shape.values, at::kByte),
                    empty_in_huge_pages(shape.scales, format == WeightFormat::kInt8 ? at::kFloat : at::kBFloat16)};
  auto* values = q.values.mutable_data_ptr<uint8_t>();
  run_tasks(panels_of(out), [&](int64_t p) {
    static thread_local std::vector<float> wide;
    const int64_t first = p * kPanelRows, rows = std::min(kPanelRows, out - first);
    const float* source;
    if (weight.scalar_type() == at::kFloat) {
      source = f32(weight) + first * in;
    } else {
      wide.resize(static_cast<size_t>(rows * in));
      kernels::to_float(bf16(weight) + first * in, wide.data(), rows * in);
      source = wide.data();
    }
    if (format == WeightFormat::kInt8) {
      kernels::pack_int8_panel(source, in, rows, in, values + p * size.values, f32_out(q.scales) + p * size.scales);
    } else {
      kernels::pack_int4_panel(source, in, rows, in, values + p * size.values, bf16_out(q.scales) + p * size.scales);
    }
  });
  return q;
}

namespace {

void unpack_row(const QuantizedWeight& weight, WeightFormat format, int64_t row, int64_t in, float* to) {
  const PanelSize size(format, in);
  const int64_t p = row / kPanelRows;
  const uint8_t* panel = weight.values.const_data_ptr<uint8_t>() + p * size.values;
  if (format == WeightFormat::kInt8) {
    kernels::unpack_int8_row(panel, f32(weight.scales) + p * size.scales, row % kPanelRows, in, to);
  } else {
    kernels::unpack_int4_row(panel, bf16(weight.scales) + p * size.scales, row % kPanelRows, in, to);
  }
}

}  // namespace

at::Tensor dequantize_weight(const QuantizedWeight& weight, WeightFormat format, int64_t out, int64_t in) {
  at::Tensor plain = at::empty({out, in}, at::kFloat);
  parallel_for(0, out, 16, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) unpack_row(weight, format, r, in, f32_out(plain) + r * in);
  });
  return plain;
}

at::Tensor quantized_rows(const QuantizedWeight& weight, WeightFormat format, const at::Tensor& ids, int64_t in,
                          at::ScalarType type) {
  TL_CHECK(ids.dim() == 1 && ids.scalar_type() == at::kLong && ids.is_contiguous(), "ids are int64 [n]");
  const auto* id = ids.const_data_ptr<int64_t>();
  at::Tensor rows = at::empty({ids.size(0), in}, at::kFloat);
  parallel_for(0, ids.size(0), 16, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) {
      TL_CHECK(id[r] >= 0 && id[r] / kPanelRows < weight.values.size(0), "an id is out of range");
      unpack_row(weight, format, id[r], in, f32_out(rows) + r * in);
    }
  });
  return rows.to(type);
}

}  // namespace throughline::ops

// Panels, and rows of X in tiles of as many as a way of quantized_gemm.h has registers for; the same for all ways.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cpu/quantized_gemm.h"

namespace throughline::ops::kernels {

// Some rows of X, from `row` on, against one panel.
template <class Scale>
using PanelRows = void (*)(const QuantizedRows& x, int64_t row, const uint8_t* w, const Scale* scales, float* c,
                           int64_t c_row);

// tiles[i]: of 2^i rows. Bytes and scales of a panel.
template <class Scale, size_t kTiles>
void all_panels(const QuantizedRows& x, const uint8_t* w, int64_t bytes, const Scale* scales, int64_t scale_count,
                int64_t panels, float* c, int64_t c_row, const PanelRows<Scale> (&tiles)[kTiles]) {
  for (int64_t p = 0; p < panels; ++p, w += bytes, scales += scale_count, c += kPanelRows) {
    for (int64_t row = 0; row < x.rows;) {
      size_t size = kTiles - 1;
      while (row + (int64_t{1} << size) > x.rows) --size;
      tiles[size](x, row, w, scales, c, c_row);
      row += int64_t{1} << size;
    }
  }
}

}  // namespace throughline::ops::kernels

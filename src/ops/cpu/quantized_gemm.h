// C = X W^T with W in int8 or int4 and X rounded to int8 in groups of 32: integer dot products, fp32 sums over groups.
//
// Layout of W (docs/quantization.md): panels of 16 rows, the last one padded with zeros. A *word* is 4 neighbours along
// the depth of one row; the 16 words of a panel's rows stand together, 64 bytes, words in order of the depth.
//   int8  bytes q + 128, one scale a row:            W[r][k] = (byte - 128) * scale[r]
//   int4  bytes hold two of 8 neighbours, k = 8 i + j in the low and 8 i + 4 + j in the high four bits of byte j of
//   word
//         i, each q + 8; one bf16 scale a row and 32 neighbours, [panel][group][16 rows]
// The depth is padded to whole groups (of 32) with zeros.
//
// X by quantize_rows(): q = round(x / scale), scale = max |x| / 127 of the group. `offset` is -128 (int8) or -8 (int4)
// times the group's sum of q, which takes the 128 or 8 out of the products again, exactly.
// Element (r, c) sums its groups in ascending order, so its bits depend on x[r] and w[c] alone, and on no kind of CPU
// but for the conversion of X. No torch here. Threads: pure functions.
#pragma once

#include <cstdint>

namespace throughline::ops::kernels {

constexpr int64_t kQuantGroup = 32;
constexpr int64_t kPanelRows = 16;

struct QuantizedRows {  // `rows` rows of `groups` groups
  int8_t* values;       // [rows, groups, 32]
  float* scales;        // [rows, groups]
  int32_t* offsets;     // [rows, groups]
  int64_t rows, groups;
};

// x [rows, depth], row stride in elements; offsets are times `offset` (-128 or -8).
void quantize_rows(const float* x, int64_t x_row, int64_t depth, int32_t offset, const QuantizedRows& out);
void quantize_rows(const uint16_t* x, int64_t x_row, int64_t depth, int32_t offset, const QuantizedRows& out);

// `panels` panels from `w` on; c[r * c_row + 16 * panel + i] fp32, all 16 of every panel are written.
void int8_gemm(const QuantizedRows& x, const uint8_t* w, const float* scales, int64_t panels, float* c, int64_t c_row);
void int4_gemm(const QuantizedRows& x, const uint8_t* w, const uint16_t* scales, int64_t panels, float* c,
               int64_t c_row);

// The same by no special instruction: for tests, and machines that have none.
void int8_gemm_portable(const QuantizedRows& x, const uint8_t* w, const float* scales, int64_t panels, float* c,
                        int64_t c_row);
void int4_gemm_portable(const QuantizedRows& x, const uint8_t* w, const uint16_t* scales, int64_t panels, float* c,
                        int64_t c_row);

// One panel from 16 rows [rows <= 16, depth] of fp32, and its scales (int8: [16]; int4: [groups, 16]).
void pack_int8_panel(const float* w, int64_t w_row, int64_t rows, int64_t depth, uint8_t* out, float* scales);
void pack_int4_panel(const float* w, int64_t w_row, int64_t rows, int64_t depth, uint8_t* out, uint16_t* scales);
// Row `row` of a panel back to fp32 [depth].
void unpack_int8_row(const uint8_t* panel, const float* scales, int64_t row, int64_t depth, float* out);
void unpack_int4_row(const uint8_t* panel, const uint16_t* scales, int64_t row, int64_t depth, float* out);

// By special instructions; null where the machine has them not.
using Int8Gemm = void (*)(const QuantizedRows&, const uint8_t*, const float*, int64_t, float*, int64_t);
using Int4Gemm = void (*)(const QuantizedRows&, const uint8_t*, const uint16_t*, int64_t, float*, int64_t);
Int8Gemm int8_gemm_avx512_vnni();
Int4Gemm int4_gemm_avx512_vnni();
Int8Gemm int8_gemm_avx2();
Int4Gemm int4_gemm_avx2();

}  // namespace throughline::ops::kernels

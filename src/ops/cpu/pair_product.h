// A matrix product of bf16 pairs with fp32 sums: by the AVX-512 BF16 instruction, or by AVX2.
//
// Highway 1.0.3 has no such operation, hence the intrinsics. A *word* is two bf16 that stand next to each other along
// the depth: c[m][n] = or += sum over i of the dot product of words a[m * a_row + i * a_step] and b[i * b_row + n].
// Columns in vectors of 16; b and c 64-byte aligned with strides of whole vectors. A number's roundings depend on its
// own operands only. No torch here.
#pragma once

#include <cstdint>

namespace throughline::ops::cpu {

using PairProduct = void (*)(const uint32_t* a, int64_t a_row, int64_t a_step, const uint32_t* b, int64_t b_row,
                             int64_t depth_words, float* c, int64_t c_row, int64_t rows, int64_t vectors, bool add);

PairProduct pair_product();  // the best for this machine, or null

// What b can be made of: `rows` rows of `depth` elements (bf16, even depth). What is beyond them is zero.
// REQUIRES: pair_product() is not null.
// Across, for x W^T: word (i, n) is elements 2 i and 2 i + 1 of row n; [depth / 2, b_row], rows <= b_row.
void pack_pairs_across(const uint16_t* const* from, int64_t rows, int64_t depth, uint32_t* b, int64_t b_row);
// Along, for p V: word (i, e) is element e of rows 2 i and 2 i + 1; [(rows + 1) / 2, depth], depth a multiple of 32.
void pack_pairs_along(const uint16_t* const* from, int64_t rows, int64_t depth, uint32_t* b);

// REQUIRES: the machine has the instructions. Product and packing of each, as above.
struct PairKernels {
  PairProduct product;
  void (*across)(const uint16_t* const* from, int64_t rows, int64_t depth, uint32_t* b, int64_t b_row);
  void (*along)(const uint16_t* const* from, int64_t rows, int64_t depth, uint32_t* b);
};
PairKernels pair_kernels_avx512_bf16();
PairKernels pair_kernels_avx2();

}  // namespace throughline::ops::cpu

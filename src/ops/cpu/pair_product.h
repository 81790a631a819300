// A small matrix product of bf16 pairs with fp32 sums: the AVX-512 BF16 instruction, where the machine has it.
//
// Highway 1.0.3 has no such operation, hence the intrinsics. A *word* is two bf16 that stand next to each other along
// the depth: c[m][n] = or += sum over i of the dot product of words a[m * a_row + i * a_step] and b[i * b_row + n].
// Rows in multiples of 8, columns in vectors of 16; b and c 64-byte aligned with strides of whole vectors. A number's
// roundings depend on its own operands only. No torch here.
#pragma once

#include <cstdint>

namespace throughline::ops::cpu {

using PairProduct = void (*)(const uint32_t* a, int64_t a_row, int64_t a_step, const uint32_t* b, int64_t b_row,
                             int64_t depth_words, float* c, int64_t c_row, int64_t rows, int64_t vectors, bool add);

PairProduct pair_product();  // null where the machine lacks the instruction

}  // namespace throughline::ops::cpu

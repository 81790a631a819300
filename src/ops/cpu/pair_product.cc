#include "ops/cpu/pair_product.h"

#include "ops/cpu/cpu_limit.h"

namespace throughline::ops::cpu {
namespace {

const PairKernels& kernels() {
#if defined(__x86_64__)
  static const PairKernels best = has_avx512_bf16() ? pair_kernels_avx512_bf16()
                                  : has_avx2()      ? pair_kernels_avx2()
                                                    : PairKernels{};
#else
  static const PairKernels best{};
#endif
  return best;
}

}  // namespace

PairProduct pair_product() { return kernels().product; }

void pack_pairs_across(const uint16_t* const* from, int64_t rows, int64_t depth, uint32_t* b, int64_t b_row) {
  kernels().across(from, rows, depth, b, b_row);
}
void pack_pairs_along(const uint16_t* const* from, int64_t rows, int64_t depth, uint32_t* b) {
  kernels().along(from, rows, depth, b);
}

}  // namespace throughline::ops::cpu

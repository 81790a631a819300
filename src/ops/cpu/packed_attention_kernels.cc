#include "ops/cpu/packed_attention_kernels.h"

#include <cmath>
#include <cstdint>

#if defined(__x86_64__)
#define HWY_BASELINE_TARGETS HWY_SSE4
#endif
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/packed_attention_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// clang-format off
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "ops/cpu/packed_attention_kernels-inl.h"
// clang-format on

#if HWY_ONCE
namespace throughline::ops::cpu {
namespace packed {
HWY_EXPORT(Kernels);
}

PackedKernels packed_kernels() {
  using namespace packed;  // NOLINT: the macro names what HWY_EXPORT declared
  return HWY_DYNAMIC_DISPATCH(Kernels)();
}

}  // namespace throughline::ops::cpu
#endif

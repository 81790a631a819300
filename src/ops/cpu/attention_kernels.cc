#include "ops/cpu/attention_kernels.h"

#include <cmath>
#include <cstring>

#include "ops/paged_attention.h"
#include "ops/paged_layout.h"

// On x86 SSE4 is the least (Highway's scalar target lacks what is used here); SSSE3 and AVX3_DL would only add compile
// time.
#if defined(__x86_64__)
#define HWY_BASELINE_TARGETS HWY_SSE4
#endif
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/attention_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// clang-format off
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "ops/cpu/attention_kernels-inl.h"
// clang-format on

#if HWY_ONCE
namespace throughline::ops::cpu {

HWY_EXPORT(Kernels);

AttentionKernels attention_kernels() { return HWY_DYNAMIC_DISPATCH(Kernels)(); }

}  // namespace throughline::ops::cpu
#endif

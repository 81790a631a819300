#include "ops/cpu/attention_kernels.h"

#include <cmath>
#include <cstring>

#include "ops/cpu/highway_targets.h"
#include "ops/paged_attention.h"
#include "ops/paged_layout.h"
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

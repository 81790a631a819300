#include "ops/cpu/packed_attention_kernels.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#include "ops/cpu/highway_targets.h"
#include "ops/cpu/pair_product.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/packed_attention_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// clang-format off
#include <hwy/highway.h>

#include "ops/cpu/packed_attention_kernels-inl.h"
#include "ops/cpu/packed_attention_bf16-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace throughline::ops::cpu::packed::HWY_NAMESPACE {

#if HWY_TARGET <= HWY_AVX3
// bf16 pairs need an even head_dim; null: the row is widened to fp32.
HWY_INLINE PairProduct ProductFor(const PackedTask& task) {
  return task.bf16 && task.head_dim % 2 == 0 ? pair_product() : nullptr;
}
#endif

int64_t Floats(const PackedTask& task, bool backward) {
#if HWY_TARGET <= HWY_AVX3
  if (ProductFor(task) != nullptr) return PairWorkspace(task, backward, nullptr).floats;
#endif
  return Workspace(task, backward, nullptr).floats;
}

void Forward(const PackedTask& task, float* scratch) {
#if HWY_TARGET <= HWY_AVX3
  if (const PairProduct product = ProductFor(task)) return ForwardPairs(task, product, scratch);
#endif
  task.bf16 ? ForwardAs<uint16_t>(task, scratch) : ForwardAs<float>(task, scratch);
}

void Backward(const PackedTask& task, float* scratch) {
#if HWY_TARGET <= HWY_AVX3
  if (const PairProduct product = ProductFor(task)) return BackwardPairs(task, product, scratch);
#endif
  task.bf16 ? BackwardAs<uint16_t>(task, scratch) : BackwardAs<float>(task, scratch);
}

PackedKernels Kernels() { return {Floats, Forward, Backward}; }

}  // namespace throughline::ops::cpu::packed::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

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

// Which of this processor's instruction sets the kernels use: all that they know, or less, so that the code for older
// processors is tested on a newer one and its bits can be had there. Of libtorch's own kernels only ATEN_CPU_CAPABILITY
// and ONEDNN_MAX_CPU_ISA decide.
//
// limit_cpu: errors name the known limits. Once, before the first kernel and before other threads start.
#pragma once

#include <string_view>

#include "base/result.h"

namespace throughline::ops {

// "sse4" | "avx2" | "avx512" (without BF16 and VNNI); "neon" on Arm, where it is all there is; "" and "best": no limit.
Status limit_cpu(std::string_view limit);

namespace cpu {
// What the files of intrinsics need, and is allowed.
bool has_avx2();
bool has_avx512_bf16();
bool has_avx512_vnni();
}  // namespace cpu

}  // namespace throughline::ops

// Shared by the files of AVX2 intrinsics. Included by sources only.
#pragma once

#include <immintrin.h>

#include "ops/cpu/unroll.h"

#define TL_TARGET __attribute__((target("avx2,fma")))
#define TL_INLINE TL_TARGET inline __attribute__((always_inline))

// Which of Highway's targets the kernels are compiled for. Their sources include it ahead of every Highway header.
#pragma once

// On x86 SSE4 is the least (Highway's scalar target lacks what is used here); SSSE3 and AVX3_DL would only add compile
// time. Vectors of SVE have no size and so cannot stand in arrays: a processor that has it runs the NEON code.
#if defined(__x86_64__)
#define HWY_BASELINE_TARGETS HWY_SSE4
#endif
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)

// Before a loop of a fixed count whose body's variables are to be registers.
#pragma once

#if defined(__clang__)
#define TL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TL_UNROLL _Pragma("GCC unroll 32")
#endif

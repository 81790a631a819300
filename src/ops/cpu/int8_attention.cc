#include "ops/cpu/int8_attention.h"

#include "ops/cpu/cpu_limit.h"

namespace throughline::ops::cpu {

const Int8Attention* int8_attention() {
#if defined(__x86_64__)
  static const Int8Attention* const best = has_avx512_vnni() ? int8_attention_avx512_vnni()
                                           : has_avx2()      ? int8_attention_avx2()
                                                             : nullptr;
  return best;
#else
  return nullptr;
#endif
}

}  // namespace throughline::ops::cpu

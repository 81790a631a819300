#include "ops/cpu/cpu_limit.h"

#include <hwy/targets.h>

#include <atomic>
#include <string>

namespace throughline::ops {
namespace {

// Highway's choice is the program's, and so is this: the targets of the limit.
constexpr int64_t kNoLimit = -1;
std::atomic<int64_t> allowed{kNoLimit};

#if defined(__x86_64__)
constexpr const char* kLimits = "sse4, avx2, avx512, best";
int64_t targets_of(std::string_view limit) {
  if (limit == "sse4") return HWY_SSSE3 | HWY_SSE4;
  if (limit == "avx2") return targets_of("sse4") | HWY_AVX2;
  if (limit == "avx512") return targets_of("avx2") | HWY_AVX3;
  return 0;
}
bool has_avx512() {
  return allowed == kNoLimit && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#else
constexpr const char* kLimits = "neon, best";
int64_t targets_of(std::string_view limit) { return limit == "neon" ? HWY_NEON : 0; }
#endif

}  // namespace

Status limit_cpu(std::string_view limit) {
  if (limit.empty() || limit == "best") return {};
  const int64_t targets = targets_of(limit);
  if (targets == 0) {
    return Error{"unknown instruction set \"" + std::string(limit) + "\"", "THROUGHLINE_CPU",
                 "use one of: " + std::string(kLimits)};
  }
  allowed = targets;
  hwy::DisableTargets(~targets);
  return {};
}

namespace cpu {
#if defined(__x86_64__)
// Not by hwy::SupportedTargets(): in 1.0.3 a call of it makes the best target the chosen one, whatever is disabled.
bool has_avx2() { return (allowed & HWY_AVX2) != 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#else
bool has_avx2() { return false; }
bool has_avx512_bf16() { return false; }
bool has_avx512_vnni() { return false; }
#endif
}  // namespace cpu

}  // namespace throughline::ops
